// What is asked for in the list of events. The address keeps it, so that Back and a link bring it again.

import type { AgentEvent } from "../../api/client"

export const CATEGORIES = ["hook", "response", "phase"] as const

export type Filters = {
  agent?: string
  category?: (typeof CATEGORIES)[number]
  type?: string
  tool?: string
  call?: string
  /** Only what failed, was denied or interrupted; the service has no such filter, so that more is read than is shown. */
  problems?: boolean
}

/** Read the filters of an address. */
export function filtersOf(search: string): Filters {
  const parameters = new URLSearchParams(search)
  const filters: Filters = {}
  for (const name of ["agent", "type", "tool", "call"] as const) {
    const value = parameters.get(name)
    if (value) filters[name] = value
  }
  const category = CATEGORIES.find((each) => each === parameters.get("category"))
  if (category) filters.category = category
  if (parameters.has("problems")) filters.problems = true
  return filters
}

/** Return what the service is asked for. */
export function queryOf({ agent, category, type, tool, call }: Filters) {
  return {
    ...(agent && { agent_id: agent }),
    ...(category && { category }),
    ...(type && { type }),
    ...(tool && { tool_name: tool }),
    ...(call && { tool_use_id: call }),
  }
}

/** Say whether an event that came from the stream is one that the service would have given. */
export function matches(event: AgentEvent, filters: Filters): boolean {
  if (filters.agent && event.agent_id !== filters.agent) return false
  if (filters.category && event.event_category !== filters.category) return false
  if (filters.type && event.event_type !== filters.type) return false
  if (filters.tool && event.tool_name !== filters.tool) return false
  if (filters.call && event.tool_use_id !== filters.call) return false
  return !filters.problems || isProblem(event)
}

export function isProblem(event: AgentEvent): boolean {
  if (event.outcome) return event.outcome !== "ok"
  return /Fail|Error|Denied/.test(event.event_type)
}

export function isFiltered(filters: Filters): boolean {
  return Object.keys(filters).length > 0
}
