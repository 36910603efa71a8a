// What there is to draw of a timeline: rectangles by their style, lines and words. No more of them than there are pixels.

import { LONG_CALL, Kind, MOST_TRACKS, Outcome, type Store } from "./store"
import { laneAt, TRACK, type Lanes } from "./lanes"
import type { Scale } from "./scale"
import type { View } from "./view"

export const STYLES = ["ok", "running", "failed", "denied", "interrupted", "unfinished", "prompt", "text", "thinking", "hook", "asked"] as const
export type Style = (typeof STYLES)[number]

export type Frame = { width: number; height: number; scrolled: number }
export type Word = { x: number; y: number; width: number; text: string; style: Style }
export type Drawing = {
  /** x, y, width and height of each, by style. */
  rectangles: Record<Style, number[]>
  words: Word[]
  phases: { x: number; text: string }[]
  breaks: { x: number; width: number; milliseconds: number }[]
}

const BAR = TRACK - 3
const TICK = 6
const ABOVE = 3
const LEAST_BAR = 2
const LEAST_WORD = 42
const MOST_WORDS = 400
const ROWS_A_LANE = MOST_TRACKS + 1
const BY_OUTCOME: Style[] = ["running", "ok", "failed", "denied", "interrupted", "asked"]
const BY_KIND: Style[] = ["ok", "prompt", "text", "thinking", "hook", "hook"]
/** Of what shares a pixel, what is worse is seen. */
const WORSE: Record<Style, number> = {
  hook: 0,
  thinking: 1,
  text: 2,
  ok: 3,
  running: 4,
  unfinished: 4,
  prompt: 5,
  interrupted: 6,
  denied: 7,
  asked: 7,
  failed: 8,
}

export type Placed = { left: number; right: number; top: number; height: number; style: Style }

/** Where marks are, for one painted frame. */
export class Layout {
  readonly perMillisecond: number
  readonly from: number
  readonly to: number

  constructor(
    readonly store: Store,
    readonly scale: Scale,
    readonly view: View,
    readonly lanes: Lanes,
    readonly frame: Frame,
    /** Whether what an agent has begun can still go on. */
    readonly isOver: (lane: number) => boolean,
  ) {
    this.perMillisecond = frame.width / view.span
    this.from = scale.moment(view.from)
    this.to = scale.moment(view.from + view.span)
  }

  x(moment: number): number {
    return (this.scale.place(moment) - this.view.from) * this.perMillisecond
  }

  moment(x: number): number {
    return this.scale.moment(this.view.from + x / this.perMillisecond)
  }

  /** Where a mark stands; undefined for one that no lane in sight has. */
  placed(mark: number): Placed | undefined {
    const { store } = this
    const lane = this.lanes.list[this.lanes.ofStore[store.lanes[mark]!]!]
    if (!lane || store.kinds[mark] === Kind.phase) return undefined
    const y = lane.y - this.frame.scrolled
    if (y + lane.height < 0 || y > this.frame.height) return undefined
    const left = this.x(store.starts[mark]!)
    if (store.kinds[mark] !== Kind.call) {
      const style = BY_OUTCOME[store.outcomes[mark]!]!
      const isTold = store.outcomes[mark]! >= Outcome.failed
      return { left, right: left + 1.5, top: y + ABOVE + lane.tracks * TRACK, height: TICK, style: isTold ? style : BY_KIND[store.kinds[mark]!]! }
    }
    const top = y + ABOVE + Math.min(store.tracks[mark]!, lane.tracks - 1) * TRACK
    const right = Math.max(left + LEAST_BAR, this.x(this.endOf(mark)))
    return { left, right, top, height: BAR, style: this.styleOf(mark) }
  }

  /** Until when a call goes: its end, until now where it still runs, or until nothing of its agent came any more. */
  endOf(mark: number): number {
    const end = this.store.ends[mark]!
    if (!Number.isNaN(end)) return end
    return this.isOver(this.store.lanes[mark]!) ? this.store.starts[mark]! : this.scale.until
  }

  styleOf(mark: number): Style {
    if (this.store.isOpen(mark)) return this.isOver(this.store.lanes[mark]!) ? "unfinished" : "running"
    return BY_OUTCOME[this.store.outcomes[mark]!]!
  }

  /** Call with each mark that may be in sight, those that begin first first. */
  each(take: (mark: number) => void) {
    const { store } = this
    const first = this.from - LONG_CALL
    for (const mark of store.longCalls) if (store.starts[mark]! < first) take(mark)
    for (const mark of store.openCalls) if (store.starts[mark]! < first) take(mark)
    for (let at = store.placeOf(first); at < store.count; at++) {
      const mark = store.order[at]!
      if (store.starts[mark]! > this.to) return
      take(mark)
    }
  }

  drawing(): Drawing {
    const rectangles = Object.fromEntries(STYLES.map((style) => [style, [] as number[]])) as Record<Style, number[]>
    const words: Word[] = []
    const reached = new Float64Array(this.lanes.list.length * ROWS_A_LANE).fill(-1)
    const worst = new Uint8Array(reached.length)
    this.each((mark) => {
      const placed = this.placed(mark)
      if (!placed || placed.right < 0 || placed.left > this.frame.width) return
      const row = this.#rowOf(mark)
      const pixel = Math.ceil(placed.right)
      // All of it is under what has been drawn, and no worse.
      if (pixel <= reached[row]! && WORSE[placed.style] <= worst[row]!) return
      worst[row] = pixel > reached[row]! ? WORSE[placed.style] : Math.max(worst[row]!, WORSE[placed.style])
      reached[row] = Math.max(reached[row]!, pixel)
      const left = Math.max(placed.left, -4)
      const width = Math.min(placed.right, this.frame.width + 4) - left
      rectangles[placed.style].push(left, placed.top, width, placed.height)
      if (width >= LEAST_WORD && words.length < MOST_WORDS) words.push(this.#word(mark, left, width, placed))
    })
    return { rectangles, words, phases: this.#phases(), breaks: this.#breaks() }
  }

  /** Return the mark at a point, or the nearest within some pixels of it in the same row. */
  markAt(x: number, y: number, reach = 4): number | undefined {
    let best: number | undefined
    let least = reach
    this.each((mark) => {
      const placed = this.placed(mark)
      if (!placed || y < placed.top - 1 || y > placed.top + placed.height + 1) return
      const distance = Math.max(placed.left - x, x - placed.right, 0)
      if (distance > least) return
      least = distance
      best = mark
    })
    return best
  }

  laneAt(y: number): number {
    return laneAt(this.lanes, y + this.frame.scrolled)
  }

  #rowOf(mark: number): number {
    const lane = this.lanes.ofStore[this.store.lanes[mark]!]!
    return lane * ROWS_A_LANE + (this.store.kinds[mark] === Kind.call ? this.store.tracks[mark]! : MOST_TRACKS)
  }

  #word(mark: number, left: number, width: number, { top, style }: Placed): Word {
    const sign = { failed: "✗ ", denied: "⊘ ", interrupted: "■ ", unfinished: "◌ " }[style as string] ?? ""
    const text = `${sign}${this.store.names[mark]} ${this.store.labels[mark]}`
    return { x: Math.max(left, 0), y: top, width: width - Math.max(0, -left), text, style }
  }

  #phases() {
    const phases = this.store.phases.filter((mark) => this.store.starts[mark]! >= this.from && this.store.starts[mark]! <= this.to)
    return phases.map((mark) => ({ x: this.x(this.store.starts[mark]!), text: this.store.labels[mark]! || this.store.names[mark]! }))
  }

  #breaks() {
    return this.scale.breaks(this.from, this.to).map(({ start, end }) => {
      const x = this.x(start)
      return { x, width: this.x(end) - x, milliseconds: end - start }
    })
  }
}
