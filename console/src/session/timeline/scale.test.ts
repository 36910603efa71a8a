import { describe, expect, it } from "vitest"
import { Busy, LONGEST_SILENCE, place, Scale } from "./scale"

function busyOf(...spans: [number, number][]): Busy {
  const busy = new Busy()
  for (const [start, end] of spans) busy.cover(start, end)
  return busy
}

const HOUR = 3_600_000

describe("busy spans", () => {
  it("become one where there is little between them", () => {
    const busy = busyOf([0, 1000], [5000, 6000], [HOUR, HOUR + 10])
    expect(busy.starts).toEqual([0, HOUR])
    expect(busy.ends).toEqual([6000, HOUR + 10])
    expect(busy.before).toEqual([0, 6000])
  })

  it("are the same in whatever order they come", () => {
    const spans: [number, number][] = [[0, 1000], [HOUR, HOUR + 10], [HOUR / 2, HOUR / 2], [500, 3000], [HOUR - 10_000, HOUR - 9000], [-HOUR, -HOUR]]
    const expected = busyOf(...spans.toSorted((a, b) => a[0] - b[0]))
    for (let turn = 0; turn < spans.length; turn++) {
      spans.push(spans.shift()!)
      const busy = busyOf(...spans)
      expect([busy.starts, busy.ends, busy.before]).toEqual([expected.starts, expected.ends, expected.before])
    }
  })

  it("that lie between two close the gap", () => {
    expect(busyOf([0, 0], [30_000, 30_000], [15_000, 15_000]).starts).toEqual([0])
  })
})

describe("a scale", () => {
  const busy = busyOf([0, 10_000], [HOUR, HOUR + 10_000])

  it("shows a long silence as a short one", () => {
    const scale = new Scale(busy, undefined, true)
    expect(scale.end).toBe(10_000 + 1000 + 10_000)
    expect(scale.place(HOUR)).toBe(11_000)
    expect(scale.breaks(0, 2 * HOUR)).toEqual([{ start: 10_000, end: HOUR }])
  })

  it("shows it as long as it was where that is asked for", () => {
    const scale = new Scale(busy, undefined, false)
    expect(scale.end).toBe(HOUR + 10_000)
    expect(scale.breaks(0, HOUR)).toEqual([])
  })

  it.each([true, false])("leads back to the moment (squeezed: %s)", (isSqueezed) => {
    const scale = new Scale(busy, 3 * HOUR, isSqueezed)
    for (const moment of [-5000, 0, 7, 10_000, 500_000, HOUR, HOUR + 5000, HOUR + 10_000, 2 * HOUR, 3 * HOUR, 4 * HOUR]) {
      expect(scale.moment(scale.place(moment))).toBeCloseTo(moment, 3)
    }
  })

  it("gives a silence no more room than it takes of what happened", () => {
    const shown = (...spans: [number, number][]) => new Scale(busyOf(...spans), undefined, true).end - spans.reduce((sum, [from, to]) => sum + to - from, 0)
    expect(shown([0, 100], [HOUR, HOUR + 100])).toBe(200)
    expect(shown([0, 100 * HOUR], [200 * HOUR, 300 * HOUR])).toBe(LONGEST_SILENCE)
  })

  it("lets what runs grow until now, and a silence until it is as long as others", () => {
    const ends = (now: number, isRunning: boolean) => new Scale(busyOf([0, 10_000]), now, true, isRunning).end
    expect([ends(10_100, false), ends(10_300, false), ends(HOUR, false)]).toEqual([10_100, 10_300, 10_500])
    expect([ends(10_100, true), ends(HOUR, true)]).toEqual([10_100, HOUR])
  })

  it("never goes back", () => {
    const scale = new Scale(busy, 2 * HOUR, true)
    const places = Array.from({ length: 500 }, (_, step) => scale.place(step * 15_000 - 20_000))
    expect(places).toEqual(places.toSorted((a, b) => a - b))
  })

  it("has a beginning where nothing happened yet", () => {
    const scale = new Scale(new Busy(), 1000, true)
    expect([scale.origin, scale.end, scale.moment(5)]).toEqual([1000, 0, 1005])
  })
})

describe("place", () => {
  it("finds the first that is no less, or that is more", () => {
    expect([place([1, 3, 3, 5], 3), place([1, 3, 3, 5], 3, true), place([], 1)]).toEqual([1, 3, 0])
  })
})
