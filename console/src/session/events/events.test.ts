import { describe, expect, it } from "vitest"
import type { AgentEvent, Schema } from "../../api/client"
import { editsOf } from "./edits"
import { filtersOf, isFiltered, matches, queryOf } from "./filters"

const event = (values: Partial<AgentEvent>) => ({ event_category: "hook", event_type: "PreToolUse", ...values }) as AgentEvent
const whole = (values: Partial<Schema<"AgentLogWhole">>) => values as Schema<"AgentLogWhole">

describe("filters", () => {
  it("are read from the address, and asked of the service", () => {
    const filters = filtersOf("?category=hook&type=PreToolUse&tool=Bash&agent=a&call=toolu_1&problems=1&event=7")
    expect(filters).toEqual({ category: "hook", type: "PreToolUse", tool: "Bash", agent: "a", call: "toolu_1", problems: true })
    expect(queryOf(filters)).toEqual({ category: "hook", type: "PreToolUse", tool_name: "Bash", agent_id: "a", tool_use_id: "toolu_1" })
    expect(filtersOf("?category=other&type=")).toEqual({})
    expect(isFiltered(filtersOf("?event=7"))).toBe(false)
  })

  it("say of an event from the stream what the service would", () => {
    expect(matches(event({ tool_name: "Bash" }), { tool: "Bash", category: "hook" })).toBe(true)
    expect(matches(event({ tool_name: "Read" }), { tool: "Bash" })).toBe(false)
    expect(matches(event({ agent_id: null }), { agent: "a" })).toBe(false)
  })

  it("know what went wrong", () => {
    const problems = { problems: true }
    expect(matches(event({ outcome: "denied" }), problems)).toBe(true)
    expect(matches(event({ outcome: "ok", event_type: "PostToolUseFailure" }), problems)).toBe(false)
    expect(matches(event({ event_type: "StopFailure" }), problems)).toBe(true)
    expect(matches(event({}), problems)).toBe(false)
  })
})

describe("edits", () => {
  const hunk = { oldStart: 1, oldLines: 1, newStart: 1, newLines: 1, lines: ["-a", "+b"] }

  it("are the patch that was made, where the result has it", () => {
    const tool_input = { file_path: "/a.py", old_string: "a", new_string: "b" }
    expect(editsOf(whole({ tool_input, payload: { tool_response: { structuredPatch: [hunk] } } }))).toEqual([{ path: "/a.py", hunks: [hunk] }])
    expect(editsOf(whole({ payload: { toolUseResult: { filePath: "/b.py", structuredPatch: [hunk] } } }))).toEqual([{ path: "/b.py", hunks: [hunk] }])
  })

  it("are what the input asks for, else", () => {
    expect(editsOf(whole({ tool_input: { file_path: "/a", old_string: "x", new_string: "y" } }))).toEqual([{ path: "/a", before: "x", after: "y" }])
    expect(editsOf(whole({ tool_input: { file_path: "/a", content: "new" } }))).toEqual([{ path: "/a", before: "", after: "new" }])
    const edits = [{ old_string: "1", new_string: "2" }, { old_string: "3" }]
    expect(editsOf(whole({ tool_input: { file_path: "/a", edits } }))).toEqual([{ path: "/a", before: "1", after: "2" }])
  })

  it("are none where what a sender sent is something else", () => {
    for (const tool_input of [null, "text", 5, [1], { content: "of no file" }, { file_path: 7, old_string: 1 }]) expect(editsOf(whole({ tool_input }))).toEqual([])
    expect(editsOf(whole({ payload: { structuredPatch: [{ lines: "no" }, null, 3] } }))).toEqual([])
  })
})
