// Events of a session around one place, read page by page to both sides, and those that come at the end.

import { api, reason, take, type AgentEvent } from "../../api/client"
import { matches, queryOf, type Filters } from "./filters"

const PAGE = 500
const LARGEST_PAGE = 1000
/** With a filter the service looks at 10,000 events for a page: of a window of fewer it has seen all. */
const WIDEST_WINDOW = 9000
const MOST_WINDOWS = 8
/** So many are kept of those that come; older ones are read again where somebody scrolls to them. */
const MOST_KEPT = 50_000

export class EventPages {
  /** Counts up with every change of `list`, which has the events in the order of their recording. */
  version = $state(0)
  busy = $state(false)
  failure = $state("")
  /** Everything up to the newest has been read, so that what comes follows it. */
  isAtEnd = $state(false)
  list: AgentEvent[] = []
  /** Told how many rows came before the first, or were dropped there (below zero), and how many after the last. */
  moved: (before: number, after: number) => void = () => {}

  #low: number
  #newest: number
  #cursor: string | undefined
  #window = PAGE
  /** What is being read, or was read last. */
  #read = Promise.resolve()
  /** What comes while a page is read that may be the last one. */
  #arrived: AgentEvent[] | undefined
  readonly #stop = new AbortController()

  /** Begin at an index: what is before it is older, what is at it or after is newer. */
  constructor(
    readonly session: string,
    readonly filters: Filters,
    begin: number,
    /** How many events the session had when that was looked up. */
    readonly known: number,
  ) {
    this.#low = begin
    this.#newest = begin - 1
  }

  get isAtStart(): boolean {
    return this.version >= 0 && this.#low <= 0
  }

  close() {
    this.#stop.abort()
  }

  async readNewer() {
    await this.#reading(async () => {
      this.#arrived = []
      const page = await this.#ask(this.#newest, PAGE, this.#cursor)
      this.#cursor = page.next_cursor ?? undefined
      this.#append(page.items)
      if (this.#cursor) return
      // The page may have been read before them.
      if (this.#arrived.length) this.#append(this.#arrived)
      this.isAtEnd = true
    })
  }

  /** Read on to the newest, however much that is. */
  async readToEnd() {
    // What is being read may have been asked for before the newest came.
    await this.#read
    this.isAtEnd = false
    while (!this.isAtEnd && !this.failure && !this.#stop.signal.aborted) await this.readNewer()
  }

  async readOlder() {
    await this.#reading(async () => {
      for (let windows = 0; windows < MOST_WINDOWS && this.#low > 0; windows++) {
        const from = Math.max(0, this.#low - this.#window)
        const found = (await this.#windowOf(from, this.#low)).filter((event) => matches(event, this.filters))
        this.#low = from
        // What is rare is looked for in wider windows, what is frequent in small ones.
        this.#window = found.length < PAGE / 4 ? Math.min(this.#window * 3, WIDEST_WINDOW) : PAGE
        this.#prepend(found)
        if (found.length) return
      }
    })
  }

  /** Take in what came from the stream. */
  receive(events: AgentEvent[]) {
    if (this.isAtEnd) this.#append(events)
    else this.#arrived?.push(...events)
  }

  /** What comes from now on is not taken in, and read when it is asked for. */
  pause() {
    this.isAtEnd = false
  }

  /** Read one thing at a time: who wants another one meanwhile waits for this one, and may ask again. */
  #reading(read: () => Promise<void>): Promise<void> {
    if (!this.busy) this.#read = this.#run(read)
    return this.#read
  }

  async #run(read: () => Promise<void>) {
    this.busy = true
    this.failure = ""
    try {
      await read()
    } catch (error) {
      if (!this.#stop.signal.aborted) this.failure = reason(error)
    }
    this.#arrived = undefined
    this.busy = false
  }

  /** Return the events from an index to before another. */
  async #windowOf(from: number, to: number): Promise<AgentEvent[]> {
    const found: AgentEvent[] = []
    for (let after = from - 1; ; after = found.at(-1)!.event_index) {
      const limit = Math.min(LARGEST_PAGE, to - after - 1)
      if (limit < 1) return found
      const { items } = await this.#ask(after, limit)
      const inside = items.filter((event) => event.event_index < to)
      found.push(...inside)
      if (inside.length < limit) return found
    }
  }

  #ask(after: number, limit: number, cursor?: string) {
    const query = { ...queryOf(this.filters), after_index: after, limit, ...(cursor && { cursor }) }
    const params = { path: { session_id: this.session }, query }
    return take(api.GET("/api/events/{session_id}", { params, signal: this.#stop.signal }))
  }

  #append(events: AgentEvent[]) {
    // A page and the stream may both have brought one.
    const fresh = events.filter((event) => event.event_index > this.#newest && matches(event, this.filters))
    this.#newest = Math.max(this.#newest, events.at(-1)?.event_index ?? -1)
    this.list.push(...fresh)
    const dropped = Math.max(0, this.list.length - MOST_KEPT)
    if (dropped) {
      this.list.splice(0, dropped)
      this.#low = this.list[0]!.event_index
    }
    this.version++
    this.moved(-dropped, fresh.length)
  }

  #prepend(events: AgentEvent[]) {
    this.list = [...events, ...this.list]
    this.version++
    this.moved(events.length, 0)
  }
}
