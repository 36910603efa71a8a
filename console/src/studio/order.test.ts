import { expect, test } from "vitest"
import { entriesOf, moved, placeAt } from "./order"
import { quoted } from "./shell"
import { strudelLink } from "./strudel"

test("an entry is moved up, down, and not over an end", () => {
  expect(moved(["a", "b", "c"], 2, 0)).toEqual(["c", "a", "b"])
  expect(moved(["a", "b", "c"], 0, 1)).toEqual(["b", "a", "c"])
  expect(moved(["a", "b", "c"], 0, 9)).toEqual(["b", "c", "a"])
})

test("the same id twice has two keys, and each keeps its own", () => {
  const first = entriesOf(["kick", "bass", "kick"], [])
  expect(new Set(first.map((entry) => entry.key)).size).toBe(3)
  const second = entriesOf(["bass", "kick", "hats", "kick"], first)
  expect(second.map((entry) => entry.key)).toEqual([first[1]!.key, first[0]!.key, 3, first[2]!.key])
})

test("a dragged row belongs where its pointer is among the others", () => {
  expect(placeAt(5, [10, 30, 50], 2)).toBe(0)
  expect(placeAt(35, [10, 30, 50], 0)).toBe(1)
  expect(placeAt(90, [10, 30, 50], 0)).toBe(2)
})

test("a link to Strudel holds the code, whatever it is written in", () => {
  const code = 's("bd*4") // größer 🥁'
  const bytes = Uint8Array.from(atob(decodeURIComponent(strudelLink(code).split("#")[1]!)), (letter) => letter.charCodeAt(0))
  expect(new TextDecoder().decode(bytes)).toBe(code)
})

test("an id stays one word of a command", () => {
  expect(quoted("house_1.a")).toBe("house_1.a")
  expect(quoted("x; rm -rf ~ 'y' $(z)")).toBe(`'x; rm -rf ~ '\\''y'\\'' $(z)'`)
  expect(quoted("")).toBe("''")
})
