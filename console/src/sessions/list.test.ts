import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { api, type Session } from "../api/client"
import { SessionList } from "./list.svelte"

type Told = (kind: string, data?: unknown) => void

let pages: { items: Session[]; next_cursor: string | null }[]
let answers: (() => void)[]
let tell: Told
let list: SessionList
let end: () => void

/** A session that was last active so many minutes after noon. */
const session = (id: string, minute: number, more: Partial<Session> = {}) =>
  ({ session_id: id, last_activity: new Date(Date.UTC(2026, 10, 1, 12, minute)).toISOString(), total_cost: 0, ...more }) as Session

beforeEach(() => {
  pages = []
  answers = []
  vi.spyOn(api, "GET").mockImplementation((() => {
    const data = pages.shift() ?? { items: [], next_cursor: null }
    return new Promise((resolve) => answers.push(() => resolve({ data, response: new Response() })))
  }) as any)
  vi.stubGlobal("document", { hidden: false, addEventListener: () => {}, removeEventListener: () => {} })
  vi.stubGlobal("window", globalThis)
  vi.stubGlobal("requestAnimationFrame", (callback: () => void) => callback())
  vi.stubGlobal(
    "EventSource",
    class {
      addEventListener(kind: string, hear: (event: unknown) => void) {
        const before = tell
        tell = (told, data) => (told === kind ? hear({ data: JSON.stringify(data ?? {}), lastEventId: "" }) : before(told, data))
      }
      close() {}
    },
  )
  tell = () => {}
  list = new SessionList()
  end = list.follow()
})

afterEach(() => {
  end()
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

function answered(...given: Session[]) {
  pages.push({ items: given, next_cursor: null })
}

async function settled() {
  for (let rounds = 0; rounds < 10; rounds++) {
    answers.splice(0).forEach((answer) => answer())
    await Promise.resolve()
    await new Promise((resolve) => setTimeout(resolve))
  }
}

const ids = () => list.items.map((each) => each.session_id)

test("what is told while a page is read is newer than the page", async () => {
  answered(session("a", 2, { activity: "working" }), session("gone", 1))
  void list.load({})
  tell("session", session("a", 3, { activity: "waiting" }))
  tell("deleted", { session_id: "gone" })
  await settled()
  expect(ids()).toEqual(["a"])
  expect(list.items[0]!.activity).toBe("waiting")
})

test("a session is listed once, however it came", async () => {
  pages.push({ items: [session("a", 9)], next_cursor: "next" }, { items: Array.from({ length: 50 }, (_, place) => session(`b${place}`, 8)), next_cursor: "more" })
  void list.load({})
  await settled()
  pages.push({ items: [session("c", 1)], next_cursor: null })
  void list.more()
  tell("session", session("c", 10))
  await settled()
  list.settle()
  expect(ids().filter((id) => id === "c")).toEqual(["c"])
  expect(ids()[0]).toBe("c")
})

test("a session that was deleted while nobody told goes when the connection is back", async () => {
  answered(session("a", 3), session("b", 2), session("c", 1))
  void list.load({})
  await settled()
  answered(session("a", 3), session("c", 1))
  tell("lagged")
  await settled()
  expect(ids()).toEqual(["a", "c"])
})

test("when more changed than a page holds the list is read anew", async () => {
  answered(session("old", 0))
  void list.load({})
  await settled()
  const page = { items: Array.from({ length: 50 }, (_, place) => session(`new${place}`, 59)), next_cursor: "next" }
  pages.push(page, page)
  tell("lagged")
  await settled()
  expect(list.items).toHaveLength(50)
  expect(ids()).not.toContain("old")
  expect(list.hasMore).toBe(true)
})

test("a list that grew for days begins anew", async () => {
  answered(session("first", 0))
  void list.load({})
  await settled()
  for (let number = 0; number < 600; number++) tell("session", session(`s${number}`, 1))
  answered(session("s599", 1))
  list.settle()
  await settled()
  expect(ids()).toEqual(["s599"])
  expect(list.waiting).toEqual([])
})

test("a failure is over when the connection is back", async () => {
  vi.mocked(api.GET).mockImplementationOnce((() => Promise.reject(new TypeError("away"))) as any)
  void list.load({})
  await settled()
  expect(list.failure).toBe("The service does not answer.")
  answered(session("a", 1))
  tell("lagged")
  await settled()
  list.settle()
  expect(list.failure).toBe("")
  expect(ids()).toEqual(["a"])
})
