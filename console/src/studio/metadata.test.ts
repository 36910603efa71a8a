import { describe, expect, test } from "vitest"
import { formOf, lookAt, withForm } from "./metadata"

describe("lookAt", () => {
  test("takes what is right", () => {
    expect(lookAt({ color: "#FF5733", bpm: 120, scale: "C minor", tags: ["drums", "kick", "drums"], mixer: { gain: 1 } })).toEqual({
      color: "#FF5733",
      bpm: 120,
      scale: "C minor",
      tags: ["drums", "kick"],
      notes: [],
    })
  })

  test.each([
    ["red"],
    ["#fff"],
    ["#12345g"],
    ["#123456;background:url(//evil)"],
    ["url(javascript:alert(1))"],
    ["#123456\n"],
    [7],
    [["#123456"]],
    [{ toString: "#123456" }],
  ])("takes %j for no colour, and says so", (color) => {
    const look = lookAt({ color })
    expect(look.color).toBeUndefined()
    expect(look.notes).toHaveLength(1)
  })

  test.each([["120"], [0], [-3], [1e300], [NaN], [Infinity], [true], [[120]]])("takes %j for no tempo", (bpm) => {
    expect(lookAt({ bpm })).toMatchObject({ bpm: undefined, notes: [expect.stringContaining("is no tempo")] })
  })

  test("keeps good tags beside wrong ones, and not too many", () => {
    expect(lookAt({ tags: ["a", 7, "", "x".repeat(50), null] })).toMatchObject({ tags: ["a"], notes: ["tag 7 is no short text"] })
    const many = lookAt({ tags: Array.from({ length: 1000 }, (_, number) => `t${number}`) })
    expect([many.tags.length, many.notes]).toEqual([12, ["988 more tags"]])
    expect(lookAt({ tags: "drums" }).notes).toEqual(['tags "drums" is no list'])
  })

  test("says nothing of what is not given, and little of what is long", () => {
    expect(lookAt({ color: null, bpm: undefined, scale: "" }).notes).toEqual([])
    expect(lookAt({ scale: { deep: "x".repeat(10_000) } }).notes[0]!.length).toBeLessThan(70)
  })
})

describe("withForm", () => {
  const metadata = { bpm: 120, tags: ["drums"], color: "odd", mixer: { gain: 1 } }

  test("leaves what was not touched as it was stored, wrong values too", () => {
    expect(withForm(metadata, formOf(metadata))).toEqual({ metadata })
  })

  test("changes, adds and takes away", () => {
    const form = { ...formOf(metadata), bpm: "", scale: "C minor", tags: "drums, kick,, ", color: "#00ff00" }
    expect(withForm(metadata, form)).toEqual({
      metadata: { tags: ["drums", "kick"], color: "#00ff00", mixer: { gain: 1 }, scale: "C minor" },
    })
  })

  test.each([
    [{ bpm: "fast" }, "bpm"],
    [{ color: "red" }, "color"],
    [{ tags: "x".repeat(50) }, "tag"],
  ])("refuses %j", (wrong, field) => {
    expect(withForm(metadata, { ...formOf(metadata), ...wrong })).toEqual({ problem: expect.stringContaining(field) })
  })
})
