// Time as it is laid out: silences are no longer than a little, so that what happens has the room.

/** A silence that is longer is shown shorter than it was. */
export const LONGEST_SILENCE = 20_000
/** As what part of all in which something happened, and within which bounds. */
const PART = 0.05
const LEAST_SHOWN = 200

/** The spans of time in which something happened, and the silences between them. */
export class Busy {
  readonly starts: number[] = []
  readonly ends: number[] = []
  /** How long the spans before each one are together. */
  readonly before: number[] = []

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
    this.before.length = at
    for (let i = at; i < this.starts.length; i++) this.before.push(i === 0 ? 0 : this.upTo(i - 1))
  }

  /** How long the spans up to this one are together. */
  upTo(i: number): number {
    return this.before[i]! + this.ends[i]! - this.starts[i]!
  }
}

/** From moments to places on the axis, both in milliseconds, and back. The axis begins at 0 with the first event. */
export class Scale {
  readonly origin: number
  /** The last moment that the axis has. */
  readonly until: number
  readonly #count: number
  /** How long a silence between two spans is shown, and the one after the last. */
  readonly #shown: number
  readonly #shownLast: number
  #last = 0

  constructor(
    readonly busy: Busy,
    now: number | undefined,
    readonly isSqueezed: boolean,
    /** A call goes on: it is no silence, though nothing comes. */
    isRunning = false,
  ) {
    this.#count = busy.starts.length
    this.origin = busy.starts[0] ?? now ?? 0
    const end = busy.ends.at(-1) ?? this.origin
    this.until = Math.max(end, now ?? -Infinity)
    const all = this.#count ? busy.upTo(this.#count - 1) : 0
    this.#shown = Math.min(Math.max(all * PART, LEAST_SHOWN), LONGEST_SILENCE)
    this.#shownLast = isRunning ? this.until - end : Math.min(this.until - end, this.#shown)
  }

  get end(): number {
    return this.place(this.until)
  }

  place(moment: number): number {
    const i = this.isSqueezed ? this.#spanOf(moment) : -1
    if (i < 0) return moment - this.origin
    const { starts, ends } = this.busy
    if (moment <= ends[i]!) return this.#placeOf(i) + moment - starts[i]!
    const passed = moment - ends[i]!
    const { silence, shown } = this.#silenceAfter(i)
    return this.#placeOf(i) + ends[i]! - starts[i]! + (passed < silence ? (passed * shown) / silence : shown + passed - silence)
  }

  moment(at: number): number {
    const i = this.isSqueezed ? this.#spanAt(at) : -1
    if (i < 0) return at + this.origin
    const { starts, ends } = this.busy
    const passed = at - this.#placeOf(i) - (ends[i]! - starts[i]!)
    if (passed <= 0) return ends[i]! + passed
    const { silence, shown } = this.#silenceAfter(i)
    return ends[i]! + (passed < shown ? (passed * silence) / shown : silence + passed - shown)
  }

  /** Return the silences between two moments that are shown shorter than they were. */
  breaks(from: number, to: number): { start: number; end: number }[] {
    if (!this.isSqueezed) return []
    const { ends } = this.busy
    const found = []
    for (let i = Math.max(0, place(ends, from) - 1); i < this.#count && ends[i]! <= to; i++) {
      const { silence, shown } = this.#silenceAfter(i)
      if (silence > shown && silence > LONGEST_SILENCE && ends[i]! + silence >= from) found.push({ start: ends[i]!, end: ends[i]! + silence })
    }
    return found
  }

  #placeOf(i: number): number {
    return this.busy.before[i]! + i * this.#shown
  }

  #silenceAfter(i: number): { silence: number; shown: number } {
    const { starts, ends } = this.busy
    if (i + 1 < this.#count) return { silence: starts[i + 1]! - ends[i]!, shown: this.#shown }
    return { silence: this.until - ends[i]!, shown: this.#shownLast }
  }

  /** Return the last span that is shown to begin no later. */
  #spanAt(at: number): number {
    let low = 0
    let high = this.#count
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#placeOf(middle) <= at) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /** Return the last span that begins no later. Whoever asks mostly asks for one in the span of the one before. */
  #spanOf(moment: number): number {
    const { starts } = this.busy
    if (this.#count === 0) return -1
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
