import { describe, expect, it } from "vitest"
import { lexed } from "./markdown"

const filled = (piece: string, length: number) => piece.repeat(Math.ceil(length / piece.length)).slice(0, length)

describe("lexed", () => {
  it("reads a long document", () => {
    const document = filled("## A heading\n\nA paragraph with `code` and **strong** words, as agents write them, of some length.\n\n", 90_000)
    expect(lexed(document)?.length).toBeGreaterThan(1000)
  })

  it.each([
    ["emphasis without an end", filled("__a", 99_000)],
    ["quotes in quotes", filled("> ", 99_000)],
    ["thousands of items", filled("- a\n", 99_000)],
    ["thousands of strong words", filled("**a** **b**\n\n", 99_000)],
    ["a megabyte", filled("words\n\n", 1_000_000)],
  ])("leaves %s as text, and is soon done", (_name, text) => {
    const began = performance.now()
    expect(lexed(text)).toBeUndefined()
    expect(performance.now() - began).toBeLessThan(2000)
  })
})
