// How many events came in a second, as of late.

const SPAN = 3000

export class Rate {
  #moments: { at: number; count: number }[] = []

  add(count: number, at: number) {
    this.#moments.push({ at, count })
  }

  /** Return the events a second of the last three. */
  at(now: number): number {
    this.#moments = this.#moments.filter((each) => each.at > now - SPAN)
    return this.#moments.reduce((sum, each) => sum + each.count, 0) / (SPAN / 1000)
  }
}
