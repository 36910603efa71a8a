import { beforeEach, expect, test, vi } from "vitest"
import { api, type AgentEvent } from "../../api/client"
import { EventPages } from "./pages.svelte"

const MOST_ROUNDS = 20

const event = (index: number) => ({ event_index: index }) as AgentEvent

let stored: number
let answers: (() => void)[]

beforeEach(() => {
  stored = 1200
  answers = []
  vi.spyOn(api, "GET").mockImplementation(((_path: string, options: any) => {
    const { after_index: after, limit } = options.params.query
    const first = after + 1
    const items = Array.from({ length: Math.max(0, Math.min(stored - first, limit)) }, (_, place) => event(first + place))
    const next = first + items.length < stored ? "next" : null
    return new Promise((resolve) => answers.push(() => resolve({ data: { items, next_cursor: next }, response: new Response() })))
  }) as any)
})

/** Answer whatever is asked until nothing is: not at once, as the service does. */
async function answerAll() {
  const rest = () => new Promise((resolve) => setTimeout(resolve))
  await rest()
  while (answers.length) {
    answers.splice(0).forEach((answer) => answer())
    await rest()
  }
}

const indexes = (pages: EventPages) => pages.list.map((each) => each.event_index)
const range = (length: number) => Array.from({ length }, (_, place) => place)

/** Read to the end, and fail where that goes round and round: it would stop the page. */
async function readToEnd(pages: EventPages) {
  let rounds = 0
  const readNewer = pages.readNewer.bind(pages)
  pages.readNewer = () => {
    if (rounds++ > MOST_ROUNDS) throw new Error("it goes round and round")
    return readNewer()
  }
  await Promise.all([pages.readToEnd(), answerAll()])
}

test("who reads to the end waits for what is being read, and reads on", async () => {
  const pages = new EventPages("s", {}, 0, stored)
  void pages.readNewer()
  await readToEnd(pages)
  expect(indexes(pages)).toEqual(range(1200))
  expect(pages.isAtEnd).toBe(true)
})

test("what comes while the last page is on its way is not lost", async () => {
  stored = 3
  const pages = new EventPages("s", {}, 0, stored)
  void pages.readNewer()
  pages.receive([event(3)])
  await answerAll()
  pages.receive([event(4)])
  expect(indexes(pages)).toEqual(range(5))
})

test("what comes in a pause that began while a page was on its way is read after it", async () => {
  stored = 3
  const pages = new EventPages("s", {}, 0, stored)
  void pages.readNewer()
  pages.pause()
  await answerAll()
  stored = 6
  await readToEnd(pages)
  expect(indexes(pages)).toEqual(range(6))
})
