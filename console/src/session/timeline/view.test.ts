import { describe, expect, it } from "vitest"
import { everything, panned, settled, showing, zoomed, zoomedTo } from "./view"

const END = 100_000
const whole = settled(everything, END)

describe("a view", () => {
  it("of everything grows with what comes", () => {
    expect(settled(whole, 2 * END)).toEqual({ from: 0, span: 2 * END, shows: "all" })
  })

  it("keeps what is under the pointer where it is", () => {
    const view = zoomed(whole, 4, 40_000, END)
    expect(view).toEqual({ from: 30_000, span: 25_000, shows: "free" })
    expect((40_000 - view.from) / view.span).toBeCloseTo(0.4)
  })

  it("goes on with the end where it reaches it, and lets go when it is panned away", () => {
    const view = zoomed(whole, 10, END, END)
    expect(view.shows).toBe("end")
    expect(settled(view, END + 500).from).toBe(90_500)
    const away = panned(view, -5000, END)
    expect(away.shows).toBe("free")
    expect(settled(away, END + 500)).toEqual(away)
    expect(panned(away, 9000, END).shows).toBe("end")
  })

  it("never leaves the axis", () => {
    const view = zoomed(whole, 2, 0, END)
    expect(panned(view, -1e9, END).from).toBe(0)
    expect(panned(view, 1e9, END).from).toBe(50_000)
    expect(zoomed(view, 1e-9, 0, END).shows).toBe("all")
    expect(zoomed(view, 1e9, 20, END).span).toBe(5)
  })

  it("shows a part with a little around it", () => {
    expect(zoomedTo(40_000, 50_000, END)).toEqual({ from: 39_000, span: 12_000, shows: "free" })
  })

  it("is moved only to what it does not show", () => {
    const view = zoomedTo(40_000, 50_000, END)
    expect(showing(view, 45_000, END)).toBe(view)
    expect(showing(view, 10_000, END).from).toBe(4000)
  })
})
