// The changes of files that an event tells of, wherever its sender has put them.

import type { Schema } from "../../api/client"
import type { Hunk } from "../../parts/diff"

export type Edit = { path: string; hunks: Hunk[] } | { path: string; before: string; after: string }

type Values = Record<string, unknown>

/** Return what an event changed: as the patch that was made, or as what its input asked for. */
export function editsOf(event: Schema<"AgentLogWhole">): Edit[] {
  const input = valuesOf(event.tool_input)
  const payload = valuesOf(event.payload)
  const path = textOf(input.file_path) ?? textOf(input.notebook_path) ?? ""
  for (const result of [payload.tool_response, payload.toolUseResult, payload.tool_use_result, payload].map(valuesOf)) {
    const hunks = hunksOf(result.structuredPatch)
    if (hunks.length) return [{ path: path || (textOf(result.filePath) ?? ""), hunks }]
  }
  return editsOfInput(input, path)
}

function editsOfInput(input: Values, path: string): Edit[] {
  if (Array.isArray(input.edits)) return input.edits.flatMap((edit) => replaced(valuesOf(edit), path))
  const content = textOf(input.content)
  if (path && content !== undefined) return [{ path, before: "", after: content }]
  return replaced(input, path)
}

function replaced(edit: Values, path: string): Edit[] {
  const [before, after] = [textOf(edit.old_string), textOf(edit.new_string)]
  return before === undefined || after === undefined ? [] : [{ path, before, after }]
}

function hunksOf(value: unknown): Hunk[] {
  if (!Array.isArray(value)) return []
  return value.filter((each): each is Hunk => {
    const hunk = valuesOf(each)
    const isNumbered = typeof hunk.oldStart === "number" && typeof hunk.newStart === "number"
    return isNumbered && Array.isArray(hunk.lines) && hunk.lines.every((line) => typeof line === "string")
  })
}

function valuesOf(value: unknown): Values {
  return typeof value === "object" && value !== null ? (value as Values) : {}
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined
}
