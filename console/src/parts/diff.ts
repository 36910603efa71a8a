// Two texts as the lines of a unified diff.

import { diffArrays } from "diff"

export type Line = { sign: " " | "+" | "-"; before?: number; after?: number; text: string }
/** A run of unchanged lines that is folded away. */
export type Fold = { fold: Line[] }
export type Hunk = { oldStart: number; newStart: number; lines: string[] }

const CONTEXT = 3
/** Fewer lines than this are not worth a fold: the line that says so takes one, too. */
const SHORTEST_FOLD = 4
const LONGEST_COMPARING = 400
const NO_NEWLINE = "\\ No newline at the end"

/** Compare two texts by lines. Texts with little in common would take minutes: such a one is replaced as a whole. */
export function compare(before: string, after: string): Line[] {
  const [old, fresh] = [linesOf(before), linesOf(after)]
  const changes = diffArrays(old, fresh, { timeout: LONGEST_COMPARING }) ?? [
    { value: old, added: false, removed: true },
    { value: fresh, added: true, removed: false },
  ]
  const lines: Line[] = []
  const at = { before: 1, after: 1 }
  for (const { value, added, removed } of changes) for (const text of value) lines.push(numbered(added ? "+" : removed ? "-" : " ", text, at))
  return lines
}

/** Return the lines of a patch that was made where the edit was done; between its hunks is what it does not show. */
export function patched(hunks: Hunk[]): Line[][] {
  return hunks.map((hunk) => {
    const at = { before: hunk.oldStart, after: hunk.newStart }
    return hunk.lines.map((line) => {
      const sign = line[0] === "+" || line[0] === "-" ? line[0] : " "
      return line[0] === "\\" ? { sign: " ", text: NO_NEWLINE } : numbered(sign, line.slice(1), at)
    })
  })
}

/** Fold long runs of unchanged lines, but for a few beside each change. */
export function folded(lines: Line[]): (Line | Fold)[] {
  const rows: (Line | Fold)[] = []
  let run: Line[] = []
  const end = (isLast: boolean) => {
    const head = rows.length ? CONTEXT : 0
    const tail = isLast ? 0 : CONTEXT
    if (run.length - head - tail < SHORTEST_FOLD) rows.push(...run)
    else rows.push(...run.slice(0, head), { fold: run.slice(head, run.length - tail) }, ...run.slice(run.length - tail))
    run = []
  }
  for (const line of lines) {
    if (line.sign === " ") run.push(line)
    else {
      end(false)
      rows.push(line)
    }
  }
  end(true)
  return rows
}

function numbered(sign: Line["sign"], text: string, at: { before: number; after: number }): Line {
  const line: Line = { sign, text }
  if (sign !== "+") line.before = at.before++
  if (sign !== "-") line.after = at.after++
  return line
}

function linesOf(text: string): string[] {
  const lines = text.split("\n")
  // What ends with a newline has no further, empty line.
  if (lines.at(-1) === "") lines.pop()
  return lines
}
