// What a timeline knows of an event, from a page of them or from the stream.

import { api, take, type AgentEvent, type Schema } from "../../api/client"

export type Item = Schema<"TimelineEvent">

const PAGE = 5000
const LONGEST_LABEL = 200
/** Pages that are on their way at once: the service makes one while the page before is taken in. */
const AT_ONCE = 2

// What a person looks for in a call, by the tools' common names of it.
const TELLING_INPUTS = ["command", "file_path", "path", "pattern", "query", "url", "prompt", "description", "name"]

/**
 * Read events in the order of their recording, page by page. Their indexes have no gaps: of as many as are known, pages need not wait for
 * one another.
 */
export async function* readPages(session: string, known: number, most: number, signal: AbortSignal): AsyncGenerator<Item[]> {
  const asked: Promise<Schema<"PageOf_TimelineEvent_">>[] = []
  let after = -1
  const ask = () => {
    const params = { path: { session_id: session }, query: { after_index: after, limit: PAGE } }
    const page = take(api.GET("/api/sessions/{session_id}/timeline", { params, signal }))
    // Whoever waits for it hears of a failure; nobody does where an earlier page has failed.
    page.catch(() => {})
    asked.push(page)
    after += PAGE
  }
  do ask()
  while (asked.length < AT_ONCE && after + 1 < known)
  for (let next = asked.shift(); next; next = asked.shift()) {
    const page = await next
    const isMore = after + 1 < known || (asked.length === 0 && page.next_cursor)
    if (isMore && after + 1 < most) ask()
    yield page.items
  }
}

/** Return what a timeline knows of an event that came from the stream. */
export function itemOf(event: AgentEvent): Item {
  return { ...event, label: labelOf(event) }
}

export function labelOf(event: AgentEvent): string {
  return oneLine(tellingInput(event.tool_input) || event.content || event.tool_output || "")
}

export function tellingInput(input: unknown): string {
  if (typeof input !== "object" || input === null) return ""
  const values = input as Record<string, unknown>
  const name = TELLING_INPUTS.find((each) => typeof values[each] === "string")
  return name ? (values[name] as string) : ""
}

function oneLine(text: string): string {
  return text.slice(0, LONGEST_LABEL).replace(/\s+/g, " ").trim()
}
