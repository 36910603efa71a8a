import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { api } from "../api/client"
import { Feed } from "./feed.svelte"

const SLOW = 4000

let reads: number
let isSlow: boolean
let tell: (kind: string, data: unknown, id: string) => void

beforeEach(() => {
  vi.useFakeTimers()
  reads = 0
  isSlow = false
  tell = () => {}
  vi.stubGlobal("document", { hidden: false, addEventListener: () => {}, removeEventListener: () => {} })
  vi.stubGlobal("window", globalThis)
  vi.stubGlobal("requestAnimationFrame", (callback: () => void) => callback())
  vi.stubGlobal(
    "EventSource",
    class {
      addEventListener(kind: string, hear: (event: unknown) => void) {
        const before = tell
        tell = (told, data, id) => (told === kind ? hear({ data: JSON.stringify(data), lastEventId: id }) : before(told, data, id))
      }
      close() {}
    },
  )
  vi.spyOn(api, "GET").mockImplementation((async (path: string) => {
    const isAgents = path.endsWith("/agents")
    if (!isAgents) reads++
    if (isAgents && isSlow) await new Promise((resolve) => setTimeout(resolve, SLOW))
    const data = isAgents ? { items: [], next_cursor: null } : { session_id: "s", event_count: 0, message_count: 0 }
    return { data, response: new Response() }
  }) as any)
})

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

test("however busy a session is, its state is read one time after the other, with rests as long as reading takes", async () => {
  const feed = new Feed("s")
  await feed.open()
  isSlow = true
  reads = 0
  for (let number = 0; number < 600; number++) {
    tell("event", { event_index: number, agent_id: `unknown ${number}` }, `${number + 1}.0`)
    await vi.advanceTimersByTimeAsync(100)
  }
  // A minute: a rest of 2 s, and then each time 4 s of reading after 20 s of rest.
  expect(reads).toBeLessThanOrEqual(4)
  expect(feed.session!.event_count).toBe(600)
  feed.close()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(reads).toBeLessThanOrEqual(4)
})
