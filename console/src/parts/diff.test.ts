import { describe, expect, it } from "vitest"
import { compare, folded, patched, type Line } from "./diff"

const shown = (lines: Line[]) => lines.map((line) => `${line.sign}${line.before ?? ""}|${line.after ?? ""} ${line.text}`)
const many = (count: number) => Array.from({ length: count }, (_, place) => `line ${place}`)

describe("compare", () => {
  it("gives each line the numbers of the sides that have it", () => {
    expect(shown(compare("a\nb\nc\n", "a\nB\nc\n"))).toEqual([" 1|1 a", "-2| b", "+|2 B", " 3|3 c"])
  })

  it("shows a new file as added, and an emptied one as removed", () => {
    expect(shown(compare("", "a\nb\n"))).toEqual(["+|1 a", "+|2 b"])
    expect(shown(compare("a\n", ""))).toEqual(["-1| a"])
  })

  it("replaces the whole where comparing would take too long", () => {
    const [before, after] = [many(30_000).map((line) => `${line} old`), many(30_000).map((line) => `${line} new`)]
    const lines = compare(before.join("\n"), after.join("\n"))
    expect(lines.filter((line) => line.sign === "-")).toHaveLength(30_000)
    expect(lines.filter((line) => line.sign === "+")).toHaveLength(30_000)
  })
})

describe("folded", () => {
  it("keeps three lines beside a change and folds the rest", () => {
    const rows = folded(compare(many(20).join("\n"), [...many(20).slice(0, 10), "new", ...many(20).slice(10)].join("\n")))
    expect(rows.map((row) => ("fold" in row ? row.fold.length : row.text))).toEqual([7, "line 7", "line 8", "line 9", "new", "line 10", "line 11", "line 12", 7])
  })

  it("folds nothing that is as short as the fold itself", () => {
    expect(folded(compare(many(6).join("\n"), ["new", ...many(6)].join("\n"))).some((row) => "fold" in row)).toBe(false)
  })
})

describe("patched", () => {
  it("numbers the lines of each hunk from where it stands", () => {
    const hunks = [{ oldStart: 5, newStart: 6, lines: [" a", "-b", "+c", "\\ No newline at end of file"] }]
    expect(shown(patched(hunks)[0]!)).toEqual([" 5|6 a", "-6| b", "+|7 c", " | \\ No newline at the end"])
  })
})
