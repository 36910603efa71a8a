// Drawing a timeline. What is where was decided before; here are colours and strokes alone.

import { duration } from "../../format"
import { type Drawing, type Layout, type Style } from "./layout"
import type { Tick } from "./ticks"

const OF_STYLES: Record<Style, string> = {
  ok: "--accent",
  running: "--working",
  failed: "--failed",
  denied: "--waiting",
  interrupted: "--waiting",
  unfinished: "--idle",
  prompt: "--text",
  text: "--done",
  thinking: "--lost",
  hook: "--muted",
  asked: "--waiting",
}
const OTHERS = { ink: "--text", muted: "--muted", border: "--border", surface: "--surface", sunken: "--sunken", phase: "--lost" }

export type Colours = { styles: Record<Style, string>; font: string } & Record<keyof typeof OTHERS, string>

/** What stands above the lanes: the axis. */
export const AXIS = 22
const INDENT = 12
const LEAST_BREAK = 14
const SMALL = 11

/** Read the colours that the page has now, by day or by night. */
export function coloursOf(element: Element): Colours {
  const style = getComputedStyle(element)
  const read = (variables: Record<string, string>) =>
    Object.fromEntries(Object.entries(variables).map(([name, variable]) => [name, style.getPropertyValue(variable).trim()]))
  return { styles: read(OF_STYLES), font: style.fontFamily, ...read(OTHERS) } as Colours
}

type Canvas = CanvasRenderingContext2D

/** Paint the chart: names of lanes in the first `names` pixels, the axis above, and the lanes. */
export function paint(canvas: Canvas, layout: Layout, drawing: Drawing, ticks: Tick[], colours: Colours, names: number) {
  const width = layout.frame.width + names
  const height = layout.frame.height + AXIS
  canvas.clearRect(0, 0, width, height)
  canvas.font = `${SMALL}px ${colours.font}`
  canvas.textBaseline = "middle"
  paintLanes(canvas, layout, colours, width)
  canvas.save()
  canvas.beginPath()
  canvas.rect(names, 0, layout.frame.width, height)
  canvas.clip()
  canvas.translate(names, 0)
  paintTicks(canvas, ticks, colours, height)
  paintBreaks(canvas, drawing, colours, height)
  canvas.translate(0, AXIS)
  paintMarks(canvas, drawing, colours)
  paintPhases(canvas, drawing, colours, layout.frame.height)
  canvas.restore()
  paintNames(canvas, layout, colours, names)
}

function paintLanes(canvas: Canvas, layout: Layout, colours: Colours, width: number) {
  canvas.fillStyle = colours.border
  for (const lane of inSight(layout)) canvas.fillRect(0, AXIS + lane.y + lane.height - layout.frame.scrolled - 1, width, 1)
}

function paintTicks(canvas: Canvas, ticks: Tick[], colours: Colours, height: number) {
  canvas.textAlign = "left"
  for (const { x, text } of ticks) {
    canvas.fillStyle = colours.border
    canvas.fillRect(Math.round(x), 0, 1, height)
    canvas.fillStyle = colours.muted
    canvas.fillText(text, x + 4, AXIS / 2)
  }
}

/** A silence that is shown shorter than it was is hatched, and says how long it was. */
function paintBreaks(canvas: Canvas, { breaks }: Drawing, colours: Colours, height: number) {
  for (const { x, width, milliseconds } of breaks) {
    canvas.fillStyle = colours.sunken
    canvas.fillRect(x, 0, width, height)
    canvas.strokeStyle = colours.border
    canvas.setLineDash([3, 3])
    canvas.strokeRect(x + 0.5, -1, Math.max(1, width - 1), height + 2)
    canvas.setLineDash([])
    if (width < LEAST_BREAK) continue
    canvas.fillStyle = colours.muted
    canvas.fillText(width > 80 ? `⋯ ${duration(milliseconds)}` : "⋯", x + 4, AXIS / 2)
  }
}

function paintMarks(canvas: Canvas, { rectangles, words }: Drawing, colours: Colours) {
  // What is worse comes later, and so on top.
  for (const style of ["hook", "thinking", "text", "ok", "running", "unfinished", "prompt", "interrupted", "denied", "asked", "failed"] as const) {
    const list = rectangles[style]
    canvas.fillStyle = colours.styles[style]
    for (let at = 0; at < list.length; at += 4) canvas.fillRect(list[at]!, list[at + 1]!, list[at + 2]!, list[at + 3]!)
  }
  canvas.textAlign = "left"
  canvas.fillStyle = colours.surface
  for (const { x, y, width, text } of words) canvas.fillText(fitting(canvas, text, width - 8), x + 4, y + 6)
}

function paintPhases(canvas: Canvas, { phases }: Drawing, colours: Colours, height: number) {
  canvas.fillStyle = colours.phase
  let reached = -Infinity
  for (const { x, text } of phases) {
    canvas.fillRect(Math.round(x), -AXIS, 1.5, height + AXIS)
    if (x < reached) continue
    canvas.fillText(text, x + 4, height - 8)
    reached = x + canvas.measureText(text).width + 10
  }
}

function paintNames(canvas: Canvas, layout: Layout, colours: Colours, names: number) {
  canvas.fillStyle = colours.surface
  canvas.fillRect(0, 0, names, AXIS)
  for (const lane of inSight(layout)) {
    const top = AXIS + lane.y - layout.frame.scrolled
    canvas.fillStyle = colours.surface
    canvas.fillRect(0, top, names, lane.height - 1)
    canvas.fillStyle = lane.depth ? colours.muted : colours.ink
    const indent = 8 + Math.min(lane.depth, 6) * INDENT
    canvas.fillText(fitting(canvas, `${lane.depth ? "└ " : ""}${lane.title}`, names - indent - 6), indent, top + lane.height / 2)
  }
  canvas.fillStyle = colours.border
  canvas.fillRect(names - 1, 0, 1, layout.frame.height + AXIS)
  // Lanes that are scrolled away have gone below the axis.
  canvas.fillStyle = colours.surface
  canvas.fillRect(0, 0, names - 1, AXIS)
  canvas.fillStyle = colours.border
  canvas.fillRect(0, AXIS - 1, layout.frame.width + names, 1)
}

function inSight(layout: Layout) {
  const lanes = layout.lanes.list
  const first = layout.laneAt(0)
  const after = layout.laneAt(layout.frame.height)
  return lanes.slice(first, after + 1)
}

/** Cut a text to the room there is; how wide its letters are is guessed, as measuring each is slow. */
function fitting(canvas: Canvas, text: string, room: number): string {
  const most = Math.floor(room / (SMALL * 0.53))
  if (text.length <= most && (text.length < 8 || canvas.measureText(text).width <= room)) return text
  return most > 1 ? `${text.slice(0, most - 1)}…` : ""
}
