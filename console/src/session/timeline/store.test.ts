import { beforeEach, describe, expect, it } from "vitest"
import { BEGINNING, call, event, restart } from "./making"
import { Kind, Outcome, Store } from "./store"

let store: Store

beforeEach(() => {
  restart()
  store = new Store()
})

const seconds = (numbers: Float64Array, mark: number) => (numbers[mark]! - BEGINNING) / 1000

describe("a call", () => {
  it("is one mark, however many events tell of it", () => {
    const of = { tool_use_id: "a", tool_name: "Bash" }
    store.add([event(1, "PreToolUse", { ...of, label: "make" }), event(1.1, "ToolUseBlock", { ...of, label: "make test" })])
    store.add([event(3, "PostToolUse", { ...of, outcome: "ok", duration_ms: 1900 }), event(4, "ToolResultBlock", { ...of, outcome: "failed" })])
    expect([store.count, store.events]).toEqual([1, 4])
    expect([seconds(store.starts, 0), seconds(store.ends, 0), store.took[0]]).toEqual([1, 3, 1900])
    expect([store.indexes[0], store.labels[0], store.outcomes[0]]).toEqual([1, "make test", Outcome.failed])
  })

  it("is open until its end is told", () => {
    const [begin, end] = call(1, 2, "a")
    store.add([begin!])
    expect(store.isOpen(0)).toBe(true)
    expect(store.ends[0]).toBeNaN()
    store.add([end!])
    expect(store.isOpen(0)).toBe(false)
    expect(store.took[0]).toBe(1000)
  })

  it("whose beginning nobody told begins as long before as it took", () => {
    store.add([event(10, "PostToolUse", { tool_use_id: "a", tool_name: "Read", duration_ms: 4000, outcome: "ok" })])
    expect(seconds(store.starts, 0)).toBe(6)
  })

  it("is told better by the transcript than by a hook, whichever comes first", () => {
    store.add([event(1, "ToolUseBlock", { tool_use_id: "a" }), event(2, "ToolResultBlock", { tool_use_id: "a", outcome: "denied" })])
    store.add([event(3, "PostToolUse", { tool_use_id: "a", outcome: "ok" })])
    expect(store.outcomes[0]).toBe(Outcome.denied)
  })

  it("that its batch answers, and of whose end no hook tells, was denied", () => {
    const agent = { agent_id: "sub" }
    store.add([event(1, "PreToolUse", { tool_use_id: "a" }), event(1, "PreToolUse", { tool_use_id: "b" }), event(1, "PreToolUse", { tool_use_id: "c", ...agent })])
    store.add([event(2, "PostToolUse", { tool_use_id: "a", outcome: "ok" }), event(3, "PostToolBatch")])
    expect([...store.outcomes.slice(0, 3)]).toEqual([Outcome.ok, Outcome.denied, Outcome.none])
    expect([store.isOpen(1), store.took[1], store.isOpen(2)]).toEqual([false, 2000, true])
  })

  it("that its batch answers is told by whoever tells its end later", () => {
    store.add([event(1, "PreToolUse", { tool_use_id: "a" }), event(3, "PostToolBatch"), event(2, "PostToolUse", { tool_use_id: "a", outcome: "failed" })])
    expect([store.outcomes[0], seconds(store.ends, 0), store.took[0], store.failures]).toEqual([Outcome.failed, 2, 1000, 1])
  })

  it("that fails is counted once", () => {
    store.add(call(1, 2, "a", { outcome: "failed" }))
    store.add([event(3, "ToolResultBlock", { tool_use_id: "a", outcome: "failed" })])
    expect(store.failures).toBe(1)
  })
})

describe("tracks", () => {
  it("are as many as there are calls at once", () => {
    const [a, aEnd] = call(1, 4, "a")
    const [b, bEnd] = call(2, 5, "b")
    const [c, cEnd] = call(6, 7, "c")
    store.add([a!, b!, aEnd!, bEnd!, c!, cEnd!])
    expect([...store.tracks.slice(0, 3)]).toEqual([0, 1, 0])
    expect(store.trackCounts).toEqual([2])
  })

  it("are no more than five", () => {
    store.add(Array.from({ length: 9 }, (_, place) => call(place, 100, `c${place}`)[0]!))
    expect(store.trackCounts).toEqual([5])
  })
})

describe("marks", () => {
  it("are in the order in which they began, whenever they came", () => {
    store.add([event(5, "TextBlock"), event(9, "Stop")])
    store.add([event(2, "TextBlock"), event(7, "TextBlock"), event(6, "TextBlock"), event(12, "TextBlock")])
    expect([...store.order.slice(0, 6)].map((mark) => seconds(store.starts, mark))).toEqual([2, 5, 6, 7, 9, 12])
    expect(store.placeOfMark(3)).toBe(3)
  })

  it("are none for an event that is known already", () => {
    const events = [event(1, "TextBlock"), event(2, "TextBlock")]
    store.add(events)
    store.add(events)
    expect([store.count, store.events]).toEqual([2, 2])
  })

  it("tell prompts, phases and what somebody is asked apart", () => {
    store.add([event(1, "UserPromptSubmit"), event(2, "StatusChange", { event_category: "phase" }), event(3, "PermissionRequest"), event(4, "StopFailure")])
    expect([...store.kinds.slice(0, 2)]).toEqual([Kind.prompt, Kind.phase])
    expect([...store.outcomes.slice(2, 4)]).toEqual([Outcome.asked, Outcome.failed])
    expect(store.phases).toEqual([1])
  })

  it("come by the ten thousands", () => {
    const events = Array.from({ length: 10_000 }, (_, place) => call(place, place + 0.5, `c${place}`)).flat()
    for (let first = 0; first < events.length; first += 16) store.add(events.slice(first, first + 16))
    expect([store.count, store.events, store.openCalls.size]).toEqual([10_000, 20_000, 0])
    expect(store.placeOf(BEGINNING + 5_000_000)).toBe(5000)
  })
})
