import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { Problem } from "../api/client"
import { Editing } from "./editing.svelte"
import * as items from "./items"
import type { Item } from "./items"

const first: Item = {
  kind: "clip",
  id: "kick",
  project: "house",
  name: "Kick",
  metadata: {},
  version: 1,
  createdAt: "",
  updatedAt: "",
  code: "one",
  members: [],
}

let stored: Item | undefined
let kept: Map<string, string>

beforeEach(() => {
  stored = first
  kept = new Map()
  vi.stubGlobal("sessionStorage", {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => kept.set(name, value),
    removeItem: (name: string) => kept.delete(name),
  })
  vi.spyOn(items, "read").mockImplementation(async () => there())
  vi.spyOn(items, "change").mockImplementation(async (_kind, _id, version, change) => {
    if (there().version !== version) throw new Problem(412, "stale")
    stored = { ...there(), ...change, version: version + 1 }
    return stored
  })
})

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

function there(): Item {
  if (!stored) throw new Problem(404, "gone")
  return stored
}

async function opened(): Promise<Editing<string>> {
  const editing = new Editing<string>("clip", "kick", (item) => item.code, (code) => ({ code }), () => {})
  await editing.open()
  return editing
}

test("what is typed is a draft until it is saved, also for a page that is loaded anew", async () => {
  const editing = await opened()
  editing.type("two")
  const again = await opened()
  expect([again.value, again.isChanged]).toEqual(["two", true])
  await again.save()
  expect([stored!.code, kept.size, again.isChanged]).toEqual(["two", 0, false])
})

test("a draft that is saved later does not overwrite what was saved meanwhile", async () => {
  ;(await opened()).type("mine")
  stored = { ...first, code: "theirs", version: 2 }
  const again = await opened()
  expect(again.isBehind).toBe(true)
  await again.save()
  expect([stored.code, again.conflict?.now?.code, again.value]).toEqual(["theirs", "theirs", "mine"])
})

test("of a conflict mine can be saved over theirs", async () => {
  const editing = await opened()
  editing.type("mine")
  stored = { ...first, code: "theirs", version: 2 }
  await editing.save()
  await editing.saveMine()
  expect([stored.code, stored.version, editing.conflict, kept.size]).toEqual(["mine", 3, undefined, 0])
})

test("who takes theirs can bring back mine, also after the page was loaded anew", async () => {
  const editing = await opened()
  editing.type("mine")
  stored = { ...first, code: "theirs", version: 2 }
  await editing.save()
  editing.takeTheirs()
  expect([editing.item!.code, editing.value]).toEqual(["theirs", undefined])
  const again = await opened()
  expect([again.value, again.aside]).toEqual([undefined, "mine"])
  again.bringBack()
  await again.save()
  expect(stored.code).toBe("mine")
})

test("a change of something else is no conflict", async () => {
  const editing = await opened()
  editing.type("mine")
  stored = { ...first, name: "Renamed", version: 5 }
  await editing.save()
  expect([stored.code, stored.name, editing.conflict]).toEqual(["mine", "Renamed", undefined])
})

test("an item that was deleted meanwhile can be made again", async () => {
  const create = vi.spyOn(items, "create").mockImplementation(async (_kind, made) => ({ ...first, ...made, version: 9 }) as Item)
  const editing = await opened()
  editing.type("mine")
  stored = undefined
  await editing.save()
  expect(editing.conflict).toEqual({ now: null })
  expect((await opened()).left).toBe("mine")
  await editing.createAgain()
  expect(create).toHaveBeenCalledWith("clip", expect.objectContaining({ id: "kick", code: "mine" }))
  expect([editing.isChanged, kept.size]).toEqual([false, 0])
})

test("what is typed while a save goes on is kept, and the next save has it", async () => {
  const editing = await opened()
  editing.type("two")
  const saving = editing.save()
  editing.type("three")
  await saving
  expect([stored!.code, editing.value, editing.isChanged, kept.size]).toEqual(["two", "three", true, 1])
  await editing.save()
  expect([stored!.code, kept.size]).toEqual(["three", 0])
})

test("who did not touch anything sees what somebody else saved", async () => {
  const editing = await opened()
  editing.begin()
  stored = { ...first, code: "theirs", version: 2 }
  await editing.refresh()
  expect([editing.value, editing.isChanged, editing.isBehind]).toEqual(["theirs", false, false])
})

test("a browser that keeps nothing says so", async () => {
  vi.stubGlobal("sessionStorage", { getItem: () => null, removeItem: () => {}, setItem: () => { throw new DOMException("full") } })
  const editing = await opened()
  editing.type("two")
  expect(editing.isUnkept).toBe(true)
})
