// What part of the axis is in sight, and how it moves. All in milliseconds of the axis.

/** `all`: everything, also what is still to come. `end`: the newest. `free`: where somebody looked. */
export type View = { from: number; span: number; shows: "all" | "end" | "free" }

const SHORTEST = 5
const LEAST_AXIS = 1000

export const everything: View = { from: 0, span: LEAST_AXIS, shows: "all" }

/** Return the view as it is now that the axis ends at `end`. */
export function settled(view: View, end: number): View {
  const whole = Math.max(end, LEAST_AXIS)
  if (view.shows === "all") return { ...view, from: 0, span: whole }
  const span = Math.min(view.span, whole)
  if (view.shows === "end") return { ...view, span, from: whole - span }
  return { ...view, span, from: Math.min(Math.max(view.from, 0), whole - span) }
}

/** Zoom by a factor (2: twice as close) with what is at `anchor` staying where it is. */
export function zoomed(view: View, factor: number, anchor: number, end: number): View {
  const whole = Math.max(end, LEAST_AXIS)
  const span = Math.min(Math.max(view.span / factor, SHORTEST), whole)
  return looked({ from: anchor - ((anchor - view.from) * span) / view.span, span, shows: "free" }, end)
}

export function panned(view: View, by: number, end: number): View {
  return looked({ ...view, from: view.from + by, shows: "free" }, end)
}

/** Show a part, with a little around it. */
export function zoomedTo(from: number, to: number, end: number): View {
  const span = Math.max((to - from) * 1.2, SHORTEST)
  return looked({ from: (from + to - span) / 2, span, shows: "free" }, end)
}

/** Bring a place into sight where it is not. */
export function showing(view: View, at: number, end: number): View {
  if (at >= view.from && at <= view.from + view.span) return view
  return looked({ ...view, from: at - view.span / 2, shows: "free" }, end)
}

/** Whoever looks at the end, or at everything, goes on to. */
function looked(view: View, end: number): View {
  const whole = Math.max(end, LEAST_AXIS)
  const to = Math.min(Math.max(view.from, 0), whole - view.span) + view.span
  const shows = view.span >= whole * 0.999 ? "all" : to >= whole - view.span * 0.002 ? "end" : "free"
  return settled({ ...view, shows }, end)
}
