// One session as it is now: its row, its agents, and whatever comes while somebody looks.

import { api, reason, take, type Agent, type AgentEvent, type Message, type Session } from "../api/client"
import { follow, type Frame } from "../api/stream.svelte"

const AGENTS_REST = 2000
const MOST_AGENTS = 2000

type Listener = { events?: (events: AgentEvent[]) => void; messages?: (messages: Message[]) => void }

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
  #agentsTimer: number | undefined
  #closed = false

  constructor(readonly id: string) {}

  async open() {
    try {
      this.session = await take(api.GET("/api/sessions/{session_id}", { params: { path: { session_id: this.id } } }))
      await this.#loadAgents()
    } catch (error) {
      this.failure = reason(error)
      return
    }
    if (this.#closed) return
    const { event_count, message_count } = this.session
    this.#stop = follow(
      (lastId) => `/api/sessions/${this.id}/events?after=${lastId ?? `${event_count}.${message_count}`}`,
      ["session", "event", "message", "deleted", "moved"],
      (frames) => this.#take(frames),
    )
  }

  close() {
    this.#closed = true
    clearTimeout(this.#agentsTimer)
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
    for (const { kind, data } of frames) {
      if (kind === "event") events.push(data)
      else if (kind === "message") messages.push(data)
      else if (kind === "session") this.session = data
      else if (kind === "moved") this.movedTo = data.moved_to
      else this.failure = "This session was deleted."
    }
    const isNews = frames.some(({ kind }) => kind === "session") || events.some((event) => event.agent_id && !this.agent(event.agent_id))
    if (isNews || events.length) this.#loadAgentsSoon()
    if (this.session && (events.length || messages.length)) {
      // Frames of the session itself leave out what moves with every event.
      this.session = {
        ...this.session,
        event_count: Math.max(this.session.event_count, (events.at(-1)?.event_index ?? -1) + 1),
        message_count: Math.max(this.session.message_count, (messages.at(-1)?.message_index ?? -1) + 1),
      }
    }
    if (events.length) for (const listener of this.#listeners) listener.events?.(events)
    if (messages.length) for (const listener of this.#listeners) listener.messages?.(messages)
  }

  #loadAgentsSoon() {
    this.#agentsTimer ??= window.setTimeout(async () => {
      this.#agentsTimer = undefined
      try {
        // Its totals move with its agents', and no frame tells of those.
        this.session = await take(api.GET("/api/sessions/{session_id}", { params: { path: { session_id: this.id } } }))
        await this.#loadAgents()
      } catch {
        // The stream says when the session is gone, or the service away.
      }
    }, AGENTS_REST)
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
