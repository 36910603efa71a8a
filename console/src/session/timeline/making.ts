// Events for tests of the timeline.

import type { Item } from "./items"

export const BEGINNING = Date.parse("2026-01-01T00:00:00Z")

let number = 0

export function restart() {
  number = 0
}

export function event(seconds: number, type: string, values: Partial<Item> = {}): Item {
  const timestamp = new Date(BEGINNING + seconds * 1000).toISOString()
  return { event_index: number++, event_category: type.endsWith("Block") ? "response" : "hook", event_type: type, timestamp, ...values }
}

export function call(from: number, to: number, id: string, values: Partial<Item> = {}): Item[] {
  const of = { tool_use_id: id, tool_name: "Bash", ...values }
  return [event(from, "PreToolUse", of), event(to, "PostToolUse", { outcome: "ok", ...of })]
}
