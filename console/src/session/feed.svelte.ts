// One session as it is now: its row, its agents, and whatever comes while somebody looks.

import { api, Problem, reason, take, type Agent, type AgentEvent, type Message, type Session } from "../api/client"
import { follow, type Frame } from "../api/stream.svelte"

const REST = 2000
/** Reading takes this part of the time at most, however many agents there are. */
const MOST_READING = 0.2
const MOST_AGENTS = 2000
const DELETED = "This session was deleted."

type Listener = {
  events?: (events: AgentEvent[]) => void
  messages?: (messages: Message[]) => void
  /** Messages may have been replaced while nobody told: those that are shown are to be read anew. */
  replaced?: () => void
}

export class Feed {
  session = $state.raw<Session>()
  agents = $state.raw<Agent[]>([])
  /** There are more agents than are listed here. */
  moreAgents = $state(false)
  /** Why there is nothing to show, or no more to come. */
  failure = $state("")
  movedTo = $state("")

  readonly #listeners = new Set<Listener>()
  #stop = () => {}
  #stateTimer: number | undefined
  #stateRest = REST
  #isStale = false
  #closed = false
  #position = { event: 0, message: 0 }

  constructor(readonly id: string) {}

  /** Read the session and follow it. While the service is away it is tried again, until the page is closed. */
  async open() {
    while (!this.#closed && !(await this.#begin())) await new Promise((resolve) => setTimeout(resolve, REST))
    if (this.#closed) return
    const kinds = ["session", "event", "message", "deleted", "moved"]
    this.#stop = follow({
      url: () => `/api/sessions/${encodeURIComponent(this.id)}/events?after=${this.#position.event}.${this.#position.message}`,
      kinds,
      take: (frames) => this.#take(frames),
      refused: () => this.#lookWhy(),
      reopened: () => this.#tellReplaced(),
    })
  }

  close() {
    this.#closed = true
    clearTimeout(this.#stateTimer)
    this.#stop()
  }

  /** Hear of events and messages that come after `session` was read, in order, in batches. Returns what ends it. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  agent(id: string | null | undefined): Agent | undefined {
    return id ? this.#byId.get(id) : undefined
  }

  readonly #byId = $derived(new Map(this.agents.map((agent) => [agent.id, agent])))

  #take(frames: Frame[]) {
    const events: AgentEvent[] = []
    const messages: Message[] = []
    for (const { kind, data, id } of frames) {
      const [event, message] = id.split(".").map(Number)
      if (event !== undefined && message !== undefined) this.#position = { event, message }
      if (kind === "event") events.push(data)
      else if (kind === "message") messages.push(data)
      else if (kind === "session") this.session = data
      else if (kind === "moved") {
        this.close()
        this.movedTo = data.moved_to
      } else this.#end(DELETED)
    }
    if (this.#closed) return
    const isNews = frames.some(({ kind }) => kind === "session") || events.some((event) => event.agent_id && !this.agent(event.agent_id))
    if (isNews || events.length) this.#loadStateSoon()
    if (this.session && (events.length || messages.length)) {
      // Frames of the session itself leave out what moves with every event.
      this.session = {
        ...this.session,
        event_count: Math.max(this.session.event_count, (events.at(-1)?.event_index ?? -1) + 1),
        // Messages are taken back, too.
        message_count: messages.length ? messages.at(-1)!.message_index + 1 : this.session.message_count,
      }
    }
    if (events.length) for (const listener of this.#listeners) listener.events?.(events)
    if (messages.length) for (const listener of this.#listeners) listener.messages?.(messages)
  }

  #end(why: string) {
    this.close()
    this.failure = why
  }

  /** Read what there is at first. Returns false where the service does not answer. */
  async #begin(): Promise<boolean> {
    try {
      const session = await this.#read()
      this.#position = { event: session.event_count, message: session.message_count }
      this.session = session
      await this.#loadAgents()
      this.failure = ""
    } catch (error) {
      // Where a session moved to its stream alone tells.
      if (isGone(error)) return true
      this.failure = reason(error)
      if (error instanceof Problem && (error.status === 0 || error.status >= 500)) return false
      this.close()
    }
    return true
  }

  /** The service gave no stream: it is away, the session is gone, or it has less than was told. */
  async #lookWhy() {
    try {
      const session = await this.#read()
      const { event, message } = this.#position
      this.#position = { event: Math.min(event, session.event_count), message: Math.min(message, session.message_count) }
      this.session = session
      this.#tellReplaced()
    } catch (error) {
      if (isGone(error)) this.#end(this.session ? DELETED : reason(error))
    }
  }

  #tellReplaced() {
    for (const listener of this.#listeners) listener.replaced?.()
  }

  #loadStateSoon() {
    this.#isStale = true
    if (this.#closed) return
    this.#stateTimer ??= window.setTimeout(async () => {
      this.#isStale = false
      const began = performance.now()
      try {
        // Its totals move with its agents', and no frame tells of those.
        this.session = await this.#read()
        if (this.session.message_count < this.#position.message) this.#tellReplaced()
        await this.#loadAgents()
      } catch {
        // The stream says when the session is gone, or the service away.
      }
      this.#stateRest = Math.max(REST, (performance.now() - began) / MOST_READING)
      this.#stateTimer = undefined
      if (this.#isStale) this.#loadStateSoon()
    }, this.#stateRest)
  }

  #read(): Promise<Session> {
    return take(api.GET("/api/sessions/{session_id}", { params: { path: { session_id: this.id } } }))
  }

  async #loadAgents() {
    const agents: Agent[] = []
    let cursor: string | undefined
    do {
      const query = { limit: 1000, ...(cursor && { cursor }) }
      const page = await take(api.GET("/api/sessions/{session_id}/agents", { params: { path: { session_id: this.id }, query } }))
      agents.push(...page.items)
      cursor = page.next_cursor ?? undefined
    } while (cursor && agents.length < MOST_AGENTS)
    this.agents = agents
    this.moreAgents = cursor !== undefined
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Problem && error.status === 404
}
