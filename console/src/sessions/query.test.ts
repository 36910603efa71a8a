import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import type { Session } from "../api/client"
import { matches, parse, without } from "./query"

const session = {
  activity: "working",
  status: "build",
  session_type: "full",
  current_project: "shop",
  title: "Fix the Basket",
  total_cost: 1.5,
  last_activity: "2026-11-01T12:00:00Z",
} as Session

describe("parse", () => {
  it("reads filters and leaves the rest as text", () => {
    expect(parse('status:build project:"my shop" cost:>1 broken basket')).toEqual({
      filters: { status: "build", project: "my shop", min_cost: 1, text: "broken basket" },
      mistakes: [],
    })
  })

  it("tells of a value that no session can have", () => {
    expect(parse("status:buidl cost:much").mistakes).toHaveLength(2)
  })

  it("takes an unknown name for text: addresses have colons, too", () => {
    expect(parse("http://example.org").filters).toEqual({ text: "http://example.org" })
  })

  it("writes a directory as the service does", () => {
    expect(parse("dir:/home//me/./work/../shop/").filters).toEqual({ working_dir: "/home/me/shop" })
    expect(parse("dir:/").filters).toEqual({ working_dir: "/" })
  })

  it("reads what is pinned and what goes on by one word", () => {
    expect(parse("is:pinned").filters).toEqual({ pinned: true })
    expect(parse("is:waiting").filters).toEqual({ activity: "waiting" })
  })
})

describe("times", () => {
  beforeEach(() => void vi.useFakeTimers({ now: new Date("2026-11-22T14:00:00Z") }))
  afterEach(() => void vi.useRealTimers())

  it.each([
    ["since:30min", { since: "2026-11-22T13:30:00.000Z" }],
    ["since:2d until:1w", { since: "2026-11-20T14:00:00.000Z", until: "2026-11-15T14:00:00.000Z" }],
    ["until:2026-11-01T12:00:00Z", { until: "2026-11-01T12:00:00.000Z" }],
    ["since:2026-11-01", { since: new Date(2026, 10, 1).toISOString() }],
    ["since:2026-11-01T08:30", { since: new Date(2026, 10, 1, 8, 30).toISOString() }],
  ])("%s", (text, filters) => {
    expect(parse(text)).toEqual({ filters, mistakes: [] })
  })

  it.each(["since:2", "since:yesterday", "until:2026-13-01", "since:99999999999999d", "since:999999d", "until:2026-11-01nonsense"])("%s is told", (text) => {
    expect(parse(text)).toEqual({ filters: {}, mistakes: [expect.stringContaining(text)] })
  })
})

describe("without", () => {
  it("leaves all other words as they were written", () => {
    expect(without('since:2h "two words" project:"my shop" until:1h sincere', "since", "until")).toBe('"two words" project:"my shop" sincere')
  })
})

describe("matches", () => {
  it.each([
    ["status:build basket cost:>1", true],
    ["status:plan", false],
    ["cost:<1", false],
    ["cost:>1.5", true],
    ["project:shop is:working", true],
    ["is:pinned", false],
    ["chair", false],
    ["since:2026-11-01T12:00:00Z", true],
    ["until:2026-11-01T12:00:00Z", false],
  ])("%s: %s", (text, expected) => {
    expect(matches(session, parse(text).filters)).toBe(expected)
  })
})
