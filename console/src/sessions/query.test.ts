import { describe, expect, it } from "vitest"
import type { Session } from "../api/client"
import { matches, parse } from "./query"

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

describe("matches", () => {
  it.each([
    ["status:build basket cost:>1", true],
    ["status:plan", false],
    ["cost:<1", false],
    ["cost:>1.5", true],
    ["project:shop is:working", true],
    ["is:pinned", false],
    ["chair", false],
  ])("%s: %s", (text, expected) => {
    expect(matches(session, parse(text).filters)).toBe(expected)
  })
})
