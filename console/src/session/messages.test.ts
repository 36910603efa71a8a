import { beforeEach, expect, test, vi } from "vitest"
import { api, type Message } from "../api/client"
import type { Feed } from "./feed.svelte"
import { Messages } from "./messages.svelte"

const message = (index: number, content = `${index}`) => ({ message_index: index, content }) as Message
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, place) => message(from + place))

let stored: Message[]
let answer: () => void
let messages: Messages

beforeEach(() => {
  stored = range(0, 5)
  messages = new Messages({ id: "s", session: { message_count: 5 } } as Feed)
  vi.spyOn(api, "GET").mockImplementation(((_path: string, options: any) => {
    const { page_size: size, before_index: before = Infinity, after_index: after } = options.params.query
    const items = stored.filter((each) => each.message_index < before && each.message_index > (after ?? -1))
    const page = after === undefined ? items.slice(-size) : items.slice(0, size)
    return new Promise((resolve) => (answer = () => resolve({ data: { items: page }, response: new Response() })))
  }) as any)
})

async function opened() {
  const opening = messages.open()
  answer()
  await opening
}

const shown = () => messages.items.map((each) => each.content)

test("messages that are given anew take the place of those under their indexes", async () => {
  await opened()
  messages.append([message(3, "three"), message(4, "four")])
  expect(shown()).toEqual(["0", "1", "2", "three", "four"])
})

test("one batch may go on, and then give anew what it gave", async () => {
  await opened()
  messages.append([message(5), message(6), message(4, "four"), message(5, "five")])
  expect(shown()).toEqual(["0", "1", "2", "3", "four", "five"])
})

test("what comes while a page is read is there after it", async () => {
  const opening = messages.open()
  messages.append([message(5)])
  answer()
  await opening
  expect(shown()).toEqual(["0", "1", "2", "3", "4", "5"])
  expect(messages.hasNewer).toBe(false)
})

test("what is missing between is said, and not skipped", async () => {
  await opened()
  messages.append([message(7)])
  expect(shown()).toEqual(["0", "1", "2", "3", "4"])
  expect(messages.hasNewer).toBe(true)
})

test("who reads what came long ago does not lose it to what is new", async () => {
  stored = range(0, 60)
  await opened()
  messages.append(range(60, 400))
  expect(messages.items).toHaveLength(360)
  messages.append(range(400, 500), { mayDrop: false })
  expect(messages.items[0]!.message_index).toBe(40)
  expect(messages.hasNewer).toBe(true)
})

test("reading again shows what was replaced, and drops what was taken back", async () => {
  await opened()
  stored = [...range(0, 3), message(3, "three")]
  const reading = messages.reload()
  answer()
  await reading
  expect(shown()).toEqual(["0", "1", "2", "three"])
})

test("a page that is asked for before the end, and comes after it, is left out", async () => {
  stored = range(0, 200)
  messages = new Messages({ id: "s", session: { message_count: 200 } } as Feed)
  const opening = messages.open(100)
  answer()
  await opening
  const older = messages.loadOlder()
  const answerOlder = answer
  const end = messages.open()
  answer()
  await end
  answerOlder()
  await older
  expect(shown()).toEqual(range(140, 200).map((each) => each.content))
  expect(messages.busy).toBe(false)
})
