// The list of sessions, the last active first. Rows change where they stand; their order changes only when that disturbs nobody.

import { api, reason, take, type Session } from "../api/client"
import { follow, type Frame } from "../api/stream.svelte"
import { matches, type Filters } from "./query"

const PAGE = 50
/** Days of news make no list of thousands where somebody sees its top. */
const MOST_SETTLED = 500

export class SessionList {
  items = $state.raw<Session[]>([])
  busy = $state(true)
  failure = $state("")
  hasMore = $state(false)
  /** Sessions that the list has to take in yet. */
  waiting = $state.raw<Session[]>([])

  #filters: Filters = {}
  #cursor: string | undefined
  #loads = 0
  /** What was told while a page is read. */
  #told: Frame[] = []

  /** Follow what changes. Returns what ends it. */
  follow(): () => void {
    return follow({
      url: () => "/api/events",
      kinds: ["lagged", "session", "deleted", "moved"],
      take: (frames) => this.#take(frames),
      refused: () => this.#refresh(),
    })
  }

  /** List anew, with other filters. */
  async load(filters: Filters) {
    this.#filters = filters
    const mine = ++this.#loads
    this.busy = true
    this.#told = []
    try {
      const page = await this.#page(undefined)
      if (mine !== this.#loads) return
      this.items = page
      this.waiting = []
      this.failure = ""
    } catch (error) {
      if (mine === this.#loads) this.failure = reason(error)
    } finally {
      if (mine === this.#loads) this.#loaded()
    }
  }

  /** List anew, with the same filters. */
  again(): Promise<void> {
    return this.load(this.#filters)
  }

  async more() {
    if (this.busy || !this.hasMore) return
    const mine = this.#loads
    this.busy = true
    this.#told = []
    try {
      const page = await this.#page(this.#cursor)
      if (mine !== this.#loads) return
      this.items = unique([...this.items, ...page])
      this.failure = ""
    } catch (error) {
      if (mine !== this.#loads) return
      this.failure = reason(error)
      // What failed is tried again by hand.
      this.hasMore = false
    } finally {
      if (mine === this.#loads) this.#loaded()
    }
  }

  /** Put all in its order, take in what waits, and let go what the filters do not want any more, or what makes the list too long. */
  settle() {
    if (this.items.length + this.waiting.length > MOST_SETTLED) {
      void this.again()
      return
    }
    const all = unique([...this.waiting, ...this.items]).filter((session) => matches(session, this.#filters))
    this.items = all.sort((one, other) => Date.parse(other.last_activity) - Date.parse(one.last_activity))
    this.waiting = []
  }

  /** A page was read before what was told meanwhile. */
  #loaded() {
    this.busy = false
    const told = this.#told
    this.#told = []
    this.#take(told)
  }

  /** Read a page. With a filter that has no index it may be empty and have a next one: then go on, a few times. */
  async #page(cursor: string | undefined): Promise<Session[]> {
    const sessions: Session[] = []
    let next = cursor
    for (let reads = 0; reads < 5 && sessions.length < PAGE; reads++) {
      const query = { ...this.#filters, limit: PAGE, ...(next && { cursor: next }) }
      const page = await take(api.GET("/api/sessions", { params: { query } }))
      sessions.push(...page.items)
      next = page.next_cursor ?? undefined
      if (!next) break
    }
    this.#cursor = next
    this.hasMore = next !== undefined
    return sessions
  }

  #take(frames: Frame[]) {
    if (this.busy) this.#told.push(...frames)
    const news = new Map<string, Session>()
    const gone = new Set<string>()
    for (const { kind, data } of frames) {
      if (kind === "lagged") void this.#refresh()
      else if (kind === "session") news.set(data.session_id, data)
      else gone.add(data.session_id)
    }
    if (gone.size) {
      this.items = this.items.filter((session) => !gone.has(session.session_id))
      this.waiting = this.waiting.filter((session) => !gone.has(session.session_id))
    }
    if (news.size) this.#put(news)
  }

  #put(news: Map<string, Session>) {
    const known = new Set(this.items.map((session) => session.session_id))
    this.items = this.items.map((session) => news.get(session.session_id) ?? session)
    const unknown = [...news.values()].filter((session) => !known.has(session.session_id) && matches(session, this.#filters))
    if (unknown.length) {
      this.waiting = [...this.waiting.filter((session) => !news.has(session.session_id)), ...unknown]
    }
  }

  /** Read the first page again: what changed while nobody told. */
  async #refresh() {
    if (this.busy) return
    const mine = this.#loads
    this.busy = true
    this.#told = []
    let isFar = false
    try {
      const page = await take(api.GET("/api/sessions", { params: { query: { ...this.#filters, limit: PAGE } } }))
      if (mine !== this.#loads) return
      isFar = !this.#merge(page.items, page.next_cursor == null)
      this.failure = ""
    } catch {
      // The connection says that it is lost, and tries again.
    } finally {
      if (mine === this.#loads) this.#loaded()
    }
    if (isFar && mine === this.#loads) await this.again()
  }

  /** Take in the first page. Returns false where there may be others between it and what is listed. */
  #merge(page: Session[], isAll: boolean): boolean {
    const moments = new Map(page.map((session) => [session.session_id, session.last_activity]))
    if (!page.length && !isAll) return true
    const isNear = isAll || this.items.some((session) => moments.get(session.session_id) === session.last_activity)
    const oldest = isAll ? -Infinity : Date.parse(page.at(-1)!.last_activity)
    // What stood among these, and does not any more, was deleted.
    this.items = this.items.filter((session) => moments.has(session.session_id) || Date.parse(session.last_activity) <= oldest)
    this.#put(new Map(page.map((session) => [session.session_id, session])))
    return isNear
  }
}

/** The list that was shown last, what was opened from it, and how far from the window's top that was: who comes back finds it as it was. */
export const last = { list: undefined as SessionList | undefined, search: "", opened: "", top: undefined as number | undefined }

function unique(sessions: Session[]): Session[] {
  const byId = new Map<string, Session>()
  for (const session of sessions) if (!byId.has(session.session_id)) byId.set(session.session_id, session)
  return [...byId.values()]
}
