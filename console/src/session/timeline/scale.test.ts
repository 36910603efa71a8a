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
    expect(busy.places).toEqual([0, 6000 + LONGEST_SILENCE])
  })

  it("are the same in whatever order they come", () => {
    const spans: [number, number][] = [[0, 1000], [HOUR, HOUR + 10], [HOUR / 2, HOUR / 2], [500, 3000], [HOUR - 10_000, HOUR - 9000], [-HOUR, -HOUR]]
    const expected = busyOf(...spans.toSorted((a, b) => a[0] - b[0]))
    for (let turn = 0; turn < spans.length; turn++) {
      spans.push(spans.shift()!)
      const busy = busyOf(...spans)
      expect([busy.starts, busy.ends, busy.places]).toEqual([expected.starts, expected.ends, expected.places])
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
    expect(scale.end).toBe(10_000 + LONGEST_SILENCE + 10_000)
    expect(scale.place(HOUR)).toBe(10_000 + LONGEST_SILENCE)
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
