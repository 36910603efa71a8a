// The one query box: `status:build project:x cost:>1 some text`, as the service's filters and as a test of one session.

import type { paths } from "../api/schema"
import type { Session } from "../api/client"

export type Filters = NonNullable<paths["/api/sessions"]["get"]["parameters"]["query"]>

export type Query = { filters: Filters; mistakes: string[] }

export const ACTIVITIES = ["working", "waiting", "idle", "done", "failed", "lost"]
const TYPES = ["full", "quick", "research", "chat"]
export const STATUSES = ["active", "idle", "terminated", "created", "spec", "plan", "build", "docs", "complete", "failed"]

/** Words of the query box, for people. */
export const WORDS: [string, string][] = [
  ["is:waiting", `what goes on: ${ACTIVITIES.join(", ")}`],
  ["status:build", `a status: ${STATUSES.join(", ")}`],
  ["type:chat", `a type: ${TYPES.join(", ")}`],
  ["project:name", "the current project"],
  ["dir:/path", "the directory of a project"],
  ["agent:name", "the agent of a chat"],
  ["model:name", "the model"],
  ["cost:>1", "US dollars: that much or more (>), that much or less (<)"],
  ["since:2h", "active since then: 30min, 2h, 7d or 4w ago, or a day or time, 2026-11-22T14:00"],
  ["until:7d", "not active since then"],
  ["is:pinned", "kept by every cleanup"],
  ["words", "in name, title, slug or description"],
]

/** Split at spaces; quotes hold words together. */
function parts(text: string): string[] {
  return text.match(/[^\s":]+:"[^"]*"?|"[^"]*"?|\S+/g) ?? []
}

function unquoted(text: string): string {
  return text.replaceAll('"', "")
}

/** The query box without the words of these filters. */
export function without(text: string, ...names: string[]): string {
  return parts(text)
    .filter((part) => !names.some((name) => part.startsWith(`${name}:`)))
    .join(" ")
}

/** Read the query box. What is no filter is looked for as text; what is a wrong one is told. */
export function parse(text: string): Query {
  const filters: Filters = {}
  const mistakes: string[] = []
  const words: string[] = []
  for (const part of parts(text)) {
    const [, name, value] = part.match(/^([a-z_]+):(.+)$/) ?? []
    if (name === undefined || value === undefined) words.push(unquoted(part))
    else {
      const mistake = put(filters, name, unquoted(value))
      if (mistake === undefined) words.push(part)
      else if (mistake) mistakes.push(mistake)
    }
  }
  if (words.length) filters.text = words.join(" ")
  return { filters, mistakes }
}

/** Set one filter. Returns "", a mistake, or undefined where there is no such filter. */
function put(filters: Filters, name: string, value: string): string | undefined {
  const oneOf = (allowed: string[]) => (allowed.includes(value) ? "" : `${name}:${value} is none of ${allowed.join(", ")}.`)
  if (name === "is" && value === "pinned") {
    filters.pinned = true
    return ""
  }
  if (name === "is" || name === "activity") {
    filters.activity = value as Filters["activity"]
    return oneOf(ACTIVITIES)
  }
  if (name === "status") {
    filters.status = value as Filters["status"]
    return oneOf(STATUSES)
  }
  if (name === "type") {
    filters.type = value as Filters["type"]
    return oneOf(TYPES)
  }
  if (name === "cost") return putCost(filters, value)
  if (name === "since" || name === "until") return putTime(filters, name, value)
  const plain = ({ project: "project", dir: "working_dir", agent: "agent", model: "model" } as const)[name]
  if (plain === undefined) return undefined
  filters[plain] = name === "dir" ? normalised(value) : value
  return ""
}

/** A directory as the service writes it: without `.`, `..`, and slashes that say nothing. */
function normalised(directory: string): string {
  if (!directory.startsWith("/")) return directory
  const names: string[] = []
  for (const name of directory.split("/")) {
    if (name === "..") names.pop()
    else if (name && name !== ".") names.push(name)
  }
  return `/${names.join("/")}`
}

function putCost(filters: Filters, value: string): string {
  const [, sign, amount] = value.match(/^([<>]=?)\$?(\d+(?:\.\d*)?|\.\d+)$/) ?? []
  if (sign === undefined) return `cost:${value} is no amount; write cost:>1 or cost:<0.5.`
  filters[sign.startsWith(">") ? "min_cost" : "max_cost"] = Number(amount)
  return ""
}

const UNITS: Record<string, number> = { min: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

function putTime(filters: Filters, name: "since" | "until", value: string): string {
  const time = new Date(moment(value))
  const year = time.getUTCFullYear()
  if (!(year >= 1 && year <= 9999)) return `${name}:${value} is no time; write ${name}:2h, ${name}:7d or ${name}:2026-11-22T14:00.`
  filters[name] = time.toISOString()
  return ""
}

/** Milliseconds of the epoch, or NaN. A day begins where the reader is; a time without a zone is the reader's, too. */
function moment(value: string): number {
  const [, amount, unit] = value.match(/^(\d+)(min|h|d|w)$/) ?? []
  if (unit !== undefined) return Date.now() - Number(amount) * UNITS[unit]!
  if (!/^\d{4}-\d{2}-\d{2}/.test(value)) return NaN
  return Date.parse(value.length === 10 ? `${value}T00:00` : value)
}

/** Say whether a session that is told live belongs into the list. */
export function matches(session: Session, filters: Filters): boolean {
  const searched = [session.session_name, session.title, session.session_slug, session.description]
  const equal: [unknown, unknown][] = [
    [filters.activity, session.activity],
    [filters.status, session.status],
    [filters.type, session.session_type],
    [filters.project, session.current_project],
    [filters.working_dir, session.working_dir],
    [filters.agent, session.agent_name],
    [filters.model, session.model_name],
    [filters.pinned, session.pinned],
  ]
  return (
    equal.every(([wanted, value]) => wanted === undefined || wanted === value) &&
    (filters.min_cost === undefined || session.total_cost >= filters.min_cost!) &&
    (filters.max_cost === undefined || session.total_cost <= filters.max_cost!) &&
    (filters.since === undefined || Date.parse(session.last_activity) >= Date.parse(filters.since!)) &&
    (filters.until === undefined || Date.parse(session.last_activity) < Date.parse(filters.until!)) &&
    (filters.text === undefined || searched.some((text) => text?.toLowerCase().includes(filters.text!.toLowerCase())))
  )
}
