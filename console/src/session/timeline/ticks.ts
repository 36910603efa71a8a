// The marks of the axis: round times since the beginning, as many as there is room for.

import type { Layout } from "./layout"

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1800e3, 3600e3, 7200e3, 14_400e3, 43_200e3, 86_400e3]
const ROOM = 84
const MOST = 60

export type Tick = { x: number; text: string }

export function ticksOf(layout: Layout): Tick[] {
  const least = ROOM / layout.perMillisecond
  const step = STEPS.find((each) => each >= least) ?? Math.ceil(least / 86_400e3) * 86_400e3
  const ticks: Tick[] = []
  const { busy, origin, until, isSqueezed } = layout.scale
  let reached = -Infinity
  const spans = isSqueezed && busy.starts.length ? busy.starts.map((start, i) => [start, busy.ends[i]!] as const) : [[origin, until] as const]
  for (const [start, end] of spans) {
    if (end < layout.from || start > layout.to) continue
    const first = Math.ceil((Math.max(start, layout.from) - origin) / step) * step
    for (let at = first; at <= Math.min(end, layout.to) - origin && ticks.length < MOST; at += step) {
      const x = layout.x(origin + at)
      if (x - reached < ROOM * 0.8) continue
      ticks.push({ x, text: offset(at, step) })
      reached = x
    }
  }
  return ticks
}

/** How long after the beginning: 3.2 s, 4:05, 1:02:03; as exact as a step needs it. */
export function offset(milliseconds: number, step = 100): string {
  const sign = milliseconds < 0 ? "−" : ""
  const places = step >= 1000 ? 0 : step >= 100 ? 1 : 3
  const unit = 1000 / 10 ** places
  const units = Math.floor(Math.abs(milliseconds) / unit + 1e-6)
  const seconds = (units * unit) / 1000
  if (seconds < 60) return `${sign}${seconds.toFixed(places)} s`
  const whole = Math.floor(seconds + 1e-9)
  const rest = places ? `.${String(units % 10 ** places).padStart(places, "0")}` : ""
  const two = (value: number) => String(value).padStart(2, "0")
  const hours = Math.floor(whole / 3600)
  return `${sign}${hours ? `${hours}:${two(Math.floor(whole / 60) % 60)}` : Math.floor(whole / 60)}:${two(whole % 60)}${rest}`
}
