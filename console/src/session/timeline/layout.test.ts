import { beforeEach, describe, expect, it } from "vitest"
import type { Agent } from "../../api/client"
import { lanesOf } from "./lanes"
import { Layout } from "./layout"
import { BEGINNING, call, event, restart } from "./making"
import { Scale } from "./scale"
import { Store } from "./store"
import { offset, ticksOf } from "./ticks"
import { everything, settled, type View } from "./view"

let store: Store

beforeEach(() => {
  restart()
  store = new Store()
})

const agent = (id: string, parent?: string): Agent => ({ id, agent_type: id, parent_agent_id: parent }) as Agent

function laidOut({ agents = [] as Agent[], view = everything as View, now = undefined as number | undefined, isOver = true, isSqueezed = true } = {}) {
  const scale = new Scale(store.busy, now, isSqueezed, !isOver)
  const frame = { width: 1000, height: 400, scrolled: 0 }
  return new Layout(store, scale, settled(view, scale.end), lanesOf(agents, store), frame, () => isOver)
}

describe("lanes", () => {
  it("have room for the calls that run at once, and are there for agents that are not listed", () => {
    const of = { agent_id: "b" }
    store.add([call(1, 4, "x", of)[0]!, call(2, 5, "y", of)[0]!, event(3, "TextBlock", { agent_id: "unknown-agent" })])
    const { list } = lanesOf([agent("a"), agent("b", "a")], store)
    expect(list.map((lane) => [lane.title, lane.tracks])).toEqual([["a", 1], ["b", 2], ["agent unknown-", 1]])
    expect(list[1]!.height).toBeGreaterThan(list[0]!.height)
  })
})

describe("a layout", () => {
  it("makes bars as long as calls took", () => {
    store.add([...call(0, 5, "a"), ...call(5, 10, "b", { outcome: "failed" })])
    const { rectangles } = laidOut().drawing()
    expect(rectangles.ok.slice(0, 1).concat(rectangles.ok[2]!)).toEqual([0, 500])
    expect(rectangles.failed.slice(0, 1).concat(rectangles.failed[2]!)).toEqual([500, 500])
  })

  it("lets a call that runs grow until now, and none whose agent is over", () => {
    store.add([event(0, "TextBlock"), call(5, 6, "a")[0]!])
    const now = BEGINNING + 10_000
    const running = laidOut({ now, isOver: false }).drawing().rectangles.running
    expect([running[0], running[2]]).toEqual([500, 500])
    const over = laidOut({ now, isOver: true }).drawing().rectangles
    expect([over.running.length, over.unfinished.length]).toEqual([0, 4])
  })

  it("draws no more than there are pixels, and what failed among it", () => {
    const events = Array.from({ length: 20_000 }, (_, place) => call(place, place + 0.9, `c${place}`, place === 7777 ? { outcome: "failed" } : {}))
    store.add(events.flat())
    const { rectangles } = laidOut().drawing()
    expect(rectangles.ok.length / 4).toBeLessThan(1100)
    expect(rectangles.failed.length / 4).toBe(1)
  })

  it("draws only what is in sight, also a call that began long before", () => {
    store.add(call(0, 3600, "long"))
    store.add(Array.from({ length: 1000 }, (_, place) => call(place * 3, place * 3 + 1, `c${place}`, { agent_id: "x" })).flat())
    const { rectangles } = laidOut({ view: { from: 2_000_000, span: 9000, shows: "free" }, isSqueezed: false }).drawing()
    expect(rectangles.ok.length / 4).toBeLessThan(8)
    expect(rectangles.ok[2]).toBeGreaterThan(1000)
  })

  it("finds the mark under the pointer", () => {
    store.add([...call(0, 5, "a"), ...call(5, 10, "b")])
    const layout = laidOut()
    const { top } = layout.placed(1)!
    expect([layout.markAt(200, top + 2), layout.markAt(700, top + 2), layout.markAt(700, top + 300)]).toEqual([0, 1, undefined])
    expect(layout.moment(500)).toBe(BEGINNING + 5000)
  })

  it("has lines for phases and breaks, and no bar for a phase", () => {
    store.add([event(0, "StatusChange", { event_category: "phase", label: "building" }), event(3600, "TextBlock")])
    const drawing = laidOut().drawing()
    expect(drawing.phases).toEqual([{ x: 0, text: "building" }])
    expect(drawing.breaks.map(({ milliseconds }) => milliseconds)).toEqual([3_600_000])
    expect(drawing.rectangles.hook).toEqual([])
  })
})

describe("ticks", () => {
  it("are at round times", () => {
    store.add([...call(0, 60, "a")])
    expect(ticksOf(laidOut()).map((tick) => tick.text)).toEqual(["0 s", "10 s", "20 s", "30 s", "40 s", "50 s", "1:00"])
  })

  it.each([
    [0, 100, "0.0 s"],
    [59_960, 100, "59.9 s"],
    [3_723_450, 100, "1:02:03.4"],
    [65_000, 1000, "1:05"],
    [1234, 1, "1.234 s"],
    [-4000, 100, "−4.0 s"],
  ])("%d ms in steps of %d read %s", (milliseconds, step, text) => expect(offset(milliseconds, step)).toBe(text))
})
