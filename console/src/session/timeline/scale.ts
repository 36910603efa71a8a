// Time as it is laid out: silences are no longer than a little, so that what happens has the room.

/** A silence that is longer is shown as long as this. */
export const LONGEST_SILENCE = 20_000

/** The spans of time in which something happened, and the silences between them. */
export class Busy {
  readonly starts: number[] = []
  readonly ends: number[] = []
  /** Where each span begins when silences are short. */
  readonly places: number[] = []

  cover(start: number, end: number) {
    const last = this.starts.length - 1
    if (last < 0 || start > this.ends[last]! + LONGEST_SILENCE) {
      this.#insert(last + 1, 0, start, end)
    } else if (start >= this.starts[last]!) {
      this.ends[last] = Math.max(this.ends[last]!, end)
    } else {
      this.#merge(start, end)
    }
  }

  /** Put in a span before others: those that it touches become one with it. */
  #merge(start: number, end: number) {
    const first = place(this.ends, start - LONGEST_SILENCE)
    let next = first
    while (next < this.starts.length && this.starts[next]! <= end + LONGEST_SILENCE) next++
    const from = next > first ? Math.min(start, this.starts[first]!) : start
    const to = next > first ? Math.max(end, this.ends[next - 1]!) : end
    if (next === first + 1 && from === this.starts[first] && to === this.ends[first]) return
    this.#insert(first, next - first, from, to)
  }

  #insert(at: number, replaced: number, start: number, end: number) {
    this.starts.splice(at, replaced, start)
    this.ends.splice(at, replaced, end)
    this.places.length = at
    for (let i = at; i < this.starts.length; i++) {
      this.places.push(i === 0 ? 0 : this.placeOfEnd(i - 1) + Math.min(LONGEST_SILENCE, this.starts[i]! - this.ends[i - 1]!))
    }
  }

  placeOfEnd(i: number): number {
    return this.places[i]! + this.ends[i]! - this.starts[i]!
  }
}

/** From moments to places on the axis, both in milliseconds, and back. The axis begins at 0 with the first event. */
export class Scale {
  readonly origin: number
  /** The last moment that the axis has. */
  readonly until: number
  readonly #count: number
  #last = 0

  constructor(
    readonly busy: Busy,
    now: number | undefined,
    readonly isSqueezed: boolean,
  ) {
    this.#count = busy.starts.length
    this.origin = busy.starts[0] ?? now ?? 0
    this.until = Math.max(busy.ends.at(-1) ?? this.origin, now ?? -Infinity)
  }

  get end(): number {
    return this.place(this.until)
  }

  place(moment: number): number {
    if (!this.isSqueezed || this.#count === 0) return moment - this.origin
    const i = this.#spanOf(moment)
    if (i < 0) return moment - this.origin
    const { starts, ends, places } = this.busy
    if (moment <= ends[i]!) return places[i]! + moment - starts[i]!
    const silence = (i + 1 < this.#count ? starts[i + 1]! : this.until) - ends[i]!
    const passed = moment - ends[i]!
    const shown = silence > LONGEST_SILENCE && passed <= silence ? (passed * LONGEST_SILENCE) / silence : passed - Math.max(0, silence - LONGEST_SILENCE)
    return this.busy.placeOfEnd(i) + (silence > LONGEST_SILENCE ? shown : passed)
  }

  moment(at: number): number {
    if (!this.isSqueezed || this.#count === 0 || at < 0) return at + this.origin
    const { starts, ends, places } = this.busy
    const i = place(places, at, true) - 1
    const inSpan = at - places[i]!
    const length = ends[i]! - starts[i]!
    if (inSpan <= length) return starts[i]! + inSpan
    const silence = (i + 1 < this.#count ? starts[i + 1]! : this.until) - ends[i]!
    const passed = inSpan - length
    if (silence <= LONGEST_SILENCE) return ends[i]! + passed
    return ends[i]! + (passed <= LONGEST_SILENCE ? (passed * silence) / LONGEST_SILENCE : silence + passed - LONGEST_SILENCE)
  }

  /** Return the silences between two moments that are shown shorter than they were. */
  breaks(from: number, to: number): { start: number; end: number }[] {
    if (!this.isSqueezed) return []
    const { starts, ends } = this.busy
    const found = []
    for (let i = Math.max(0, place(ends, from) - 1); i < this.#count && ends[i]! <= to; i++) {
      const next = i + 1 < this.#count ? starts[i + 1]! : this.until
      if (next - ends[i]! > LONGEST_SILENCE && next >= from) found.push({ start: ends[i]!, end: next })
    }
    return found
  }

  /** Return the last span that begins no later. Whoever asks mostly asks for one in the span of the one before. */
  #spanOf(moment: number): number {
    const { starts } = this.busy
    const last = this.#last
    if (starts[last]! <= moment && (last + 1 === this.#count || starts[last + 1]! > moment)) return last
    const found = place(starts, moment, true) - 1
    this.#last = Math.max(0, found)
    return found
  }
}

/** Return the first place in ascending numbers whose number is at least a value; with `after`, is more than it. */
export function place(numbers: ArrayLike<number>, value: number, after = false): number {
  let low = 0
  let high = numbers.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (numbers[middle]! < value || (after && numbers[middle] === value)) low = middle + 1
    else high = middle
  }
  return low
}
