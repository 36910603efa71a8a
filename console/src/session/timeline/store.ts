// The events of a session as marks of a timeline: one for a call, however many events tell of it, and one for each other event.

import type { Item } from "./items"
import { Busy } from "./scale"

export const Kind = { call: 0, prompt: 1, text: 2, thinking: 3, phase: 4, hook: 5 } as const
export const Outcome = { none: 0, ok: 1, failed: 2, denied: 3, interrupted: 4, asked: 5 } as const

/** Calls that take longer are looked for one by one; they mostly wait for a person, and what is in them is a silence. */
export const LONG_CALL = 600_000
/** More calls at once than this are drawn over one another. */
export const MOST_TRACKS = 5

const BEGINNINGS = new Set(["ToolUseBlock", "PreToolUse"])
const ENDS = new Set(["ToolResultBlock", "PostToolUse", "PostToolUseFailure", "PermissionDenied"])
const FIRST_SIZE = 4096

export class Store {
  /** Marks, and events that they stand for. */
  count = 0
  events = 0
  /** How often something changed that lanes are laid out by. */
  shape = 0
  starts = new Float64Array(FIRST_SIZE)
  /** NaN for a call that has no end, and for what is a moment alone. */
  ends = new Float64Array(FIRST_SIZE)
  took = new Float64Array(FIRST_SIZE)
  lanes = new Int32Array(FIRST_SIZE)
  indexes = new Uint32Array(FIRST_SIZE)
  tracks = new Uint8Array(FIRST_SIZE)
  kinds = new Uint8Array(FIRST_SIZE)
  outcomes = new Uint8Array(FIRST_SIZE)
  /** Marks by their beginnings. */
  order = new Int32Array(FIRST_SIZE)
  readonly names: string[] = []
  readonly labels: string[] = []
  /** Agents in the order in which they came; undefined: the session itself. */
  readonly agents: (string | undefined)[] = []
  readonly trackCounts: number[] = []
  readonly busy = new Busy()
  readonly phases: number[] = []
  readonly longCalls: number[] = []
  readonly openCalls = new Set<number>()
  failures = 0

  readonly #laneOf = new Map<string | undefined, number>()
  readonly #callOf = new Map<string, number>()
  readonly #freeFrom: number[][] = []
  /** Which calls the transcript itself has told the end of: it says it better than a hook. */
  readonly #told = new Set<number>()
  /** Which calls ended with their batch alone, and nobody told how. */
  readonly #answered = new Set<number>()
  #seen = new Uint8Array(FIRST_SIZE)

  /** Take events in; those that are known already change nothing. */
  add(items: readonly Item[]) {
    const first = this.count
    for (const item of items) {
      if (!this.#isNew(item.event_index)) continue
      this.events++
      this.#take(item)
    }
    this.#sortIn(first)
  }

  /** Return where in `order` the first mark stands that begins no earlier. */
  placeOf(moment: number): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.starts[this.order[middle]!]! < moment) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Return where in `order` a mark stands. */
  placeOfMark(mark: number): number {
    let at = this.placeOf(this.starts[mark]!)
    while (at < this.count && this.order[at] !== mark) at++
    return at
  }

  /** Return the mark that begins nearest to a moment; there must be one. */
  nearest(moment: number): number {
    const after = Math.min(this.placeOf(moment), this.count - 1)
    const before = Math.max(after - 1, 0)
    const [one, other] = [this.order[before]!, this.order[after]!]
    return moment - this.starts[one]! < this.starts[other]! - moment ? one : other
  }

  isOpen(mark: number): boolean {
    return this.openCalls.has(mark)
  }

  #isNew(index: number): boolean {
    if (index >= this.#seen.length) this.#seen = grown(this.#seen, index)
    if (this.#seen[index]) return false
    this.#seen[index] = 1
    return true
  }

  #take(item: Item) {
    const moment = Date.parse(item.timestamp)
    const isEnd = ENDS.has(item.event_type)
    if (!item.tool_use_id || !(isEnd || BEGINNINGS.has(item.event_type))) {
      this.#addMoment(item, moment)
      return
    }
    let mark = this.#callOf.get(item.tool_use_id)
    if (mark === undefined) {
      mark = this.#beginCall(item, isEnd ? moment - (item.duration_ms ?? 0) : moment)
      this.#callOf.set(item.tool_use_id, mark)
    } else if (!isEnd) this.#tellBetter(mark, item)
    if (isEnd) this.#endCall(mark, item, moment)
  }

  #addMoment(item: Item, moment: number) {
    const mark = this.#append(item, moment, kindOf(item))
    this.names[mark] = item.event_type
    this.outcomes[mark] = outcomeOfMoment(item)
    this.took[mark] = item.duration_ms ?? NaN
    if (this.kinds[mark] === Kind.phase) this.phases.push(mark)
    if (this.outcomes[mark] === Outcome.failed) this.failures++
    this.busy.cover(moment, moment)
    if (item.event_type === "PostToolBatch") this.#endBatch(this.lanes[mark]!, moment)
  }

  /** A batch answers the calls that its agent has begun. Of those that were run a hook tells the end; the others were denied. */
  #endBatch(lane: number, moment: number) {
    for (const mark of this.openCalls) {
      if (this.lanes[mark] !== lane || this.starts[mark]! > moment) continue
      this.openCalls.delete(mark)
      this.#answered.add(mark)
      this.ends[mark] = moment
      this.took[mark] = moment - this.starts[mark]!
      this.outcomes[mark] = Outcome.denied
      this.#free(mark, moment)
    }
  }

  #beginCall(item: Item, start: number): number {
    const mark = this.#append(item, start, Kind.call)
    this.tracks[mark] = this.#trackFor(this.lanes[mark]!, start)
    this.openCalls.add(mark)
    this.busy.cover(start, start)
    return mark
  }

  /** What the transcript says of a call's beginning stands for what the hook said before. */
  #tellBetter(mark: number, item: Item) {
    if (item.event_type === "ToolUseBlock") this.indexes[mark] = item.event_index
    if (item.tool_name) this.names[mark] = item.tool_name
    if (item.label) this.labels[mark] = item.label
  }

  #endCall(mark: number, item: Item, moment: number) {
    const isTranscript = item.event_type === "ToolResultBlock"
    if (!isTranscript && this.#told.has(mark)) return
    if (isTranscript) this.#told.add(mark)
    if (this.#answered.delete(mark)) {
      this.outcomes[mark] = Outcome.none
      this.took[mark] = NaN
    }
    const isFirst = this.openCalls.delete(mark)
    const end = Math.max(moment, this.starts[mark]!)
    // A hook says when the call was over, the transcript when that was written down.
    if (isFirst || end < this.ends[mark]!) this.ends[mark] = end
    this.took[mark] = item.duration_ms ?? (Number.isNaN(this.took[mark]!) ? end - this.starts[mark]! : this.took[mark]!)
    this.#setOutcome(mark, item, isTranscript)
    if (isFirst) this.#free(mark, end)
  }

  #setOutcome(mark: number, item: Item, isTranscript: boolean) {
    const before = this.outcomes[mark]!
    const told = item.outcome ? Outcome[item.outcome] : Outcome.none
    if (told !== Outcome.none && (isTranscript || before === Outcome.none)) this.outcomes[mark] = told
    // A list leaves out what is large, and a large result is seldom an error.
    else if (before === Outcome.none) this.outcomes[mark] = Outcome.ok
    this.failures += Number(this.outcomes[mark] === Outcome.failed) - Number(before === Outcome.failed)
  }

  #free(mark: number, end: number) {
    this.#freeFrom[this.lanes[mark]!]![this.tracks[mark]!] = end
    const start = this.starts[mark]!
    if (end - start > LONG_CALL) this.longCalls.push(mark)
    if (end - start > LONG_CALL) this.busy.cover(end, end)
    else this.busy.cover(start, end)
  }

  #append(item: Item, start: number, kind: number): number {
    const mark = this.count++
    if (mark === this.starts.length) this.#grow()
    this.starts[mark] = start
    this.ends[mark] = NaN
    this.took[mark] = NaN
    this.lanes[mark] = this.#lane(item.agent_id ?? undefined)
    this.indexes[mark] = item.event_index
    this.kinds[mark] = kind
    this.names.push(item.tool_name ?? item.event_type)
    this.labels.push(item.label ?? "")
    return mark
  }

  #grow() {
    const size = this.count
    this.starts = grown(this.starts, size)
    this.ends = grown(this.ends, size)
    this.took = grown(this.took, size)
    this.lanes = grown(this.lanes, size)
    this.indexes = grown(this.indexes, size)
    this.tracks = grown(this.tracks, size)
    this.kinds = grown(this.kinds, size)
    this.outcomes = grown(this.outcomes, size)
    this.order = grown(this.order, size)
  }

  #lane(agent: string | undefined): number {
    const known = this.#laneOf.get(agent)
    if (known !== undefined) return known
    const lane = this.agents.push(agent) - 1
    this.#laneOf.set(agent, lane)
    this.trackCounts.push(0)
    this.#freeFrom.push([])
    this.shape++
    return lane
  }

  #trackFor(lane: number, start: number): number {
    const free = this.#freeFrom[lane]!
    let track = free.findIndex((from) => from <= start)
    if (track < 0 && free.length < MOST_TRACKS) {
      track = free.length
      this.trackCounts[lane] = track + 1
      this.shape++
    }
    if (track < 0) track = free.indexOf(Math.min(...free))
    free[track] = Infinity
    return track
  }

  /** Bring the marks from `first` on among the others, which are in order already. */
  #sortIn(first: number) {
    const fresh = Array.from({ length: this.count - first }, (_, place) => first + place)
    const { starts, order } = this
    if (fresh.some((mark, place) => place > 0 && starts[mark]! < starts[mark - 1]!)) fresh.sort((a, b) => starts[a]! - starts[b]! || a - b)
    let old = first - 1
    let at = this.count - 1
    for (let next = fresh.length - 1; next >= 0; at--) {
      if (old >= 0 && starts[order[old]!]! > starts[fresh[next]!]!) order[at] = order[old--]!
      else order[at] = fresh[next--]!
    }
  }
}

function kindOf(item: Item): number {
  if (item.event_category === "phase") return Kind.phase
  if (item.event_type === "UserPromptSubmit" || item.event_type === "UserMessage") return Kind.prompt
  if (item.event_type === "TextBlock") return Kind.text
  return item.event_type === "ThinkingBlock" ? Kind.thinking : Kind.hook
}

function outcomeOfMoment(item: Item): number {
  if (item.outcome) return Outcome[item.outcome]
  if (/Fail|Error/.test(item.event_type)) return Outcome.failed
  return item.event_type === "PermissionRequest" || item.event_type === "Notification" ? Outcome.asked : Outcome.none
}

function grown<Numbers extends Float64Array | Int32Array | Uint32Array | Uint8Array>(numbers: Numbers, least: number): Numbers {
  const larger = new (numbers.constructor as new (length: number) => Numbers)(Math.max(least + 1, numbers.length * 2))
  larger.set(numbers)
  return larger
}
