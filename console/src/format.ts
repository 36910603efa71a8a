// How values read: times, money, tokens, durations, sizes.

const MINUTE = 60
const HOUR = 3600
const DAY = 86_400

/** How long ago, in one short word. */
export function ago(moment: string, now: number): string {
  const seconds = Math.max(0, (now - Date.parse(moment)) / 1000)
  if (seconds < 5) return "now"
  if (seconds < MINUTE) return `${Math.floor(seconds)} s`
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min`
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h`
  if (seconds < 30 * DAY) return `${Math.floor(seconds / DAY)} d`
  return day(moment)
}

export function day(moment: string): string {
  return new Date(moment).toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" })
}

export function time(moment: string): string {
  return new Date(moment).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" })
}

export function dayAndTime(moment: string): string {
  return new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" })
}

/** US dollars: cents for what people pay, more places where that would say nothing. */
export function dollars(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–"
  if (value === 0) return "$0"
  const places = Math.abs(value) >= 1 ? 2 : Math.abs(value) >= 0.01 ? 3 : 4
  return value.toLocaleString("en-US", { style: "currency", currency: "USD", minimumFractionDigits: places, maximumFractionDigits: places })
}

/** A count in three digits: 950, 1.2k, 34.5M. */
export function short(value: number): string {
  if (value < 1000) return String(value)
  const [scaled, unit] = value < 999_500 ? [value / 1000, "k"] : value < 999_500_000 ? [value / 1e6, "M"] : [value / 1e9, "G"]
  return (scaled < 99.95 ? scaled.toFixed(1) : scaled.toFixed(0)) + unit
}

export function count(value: number): string {
  return value.toLocaleString("en-US")
}

export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`
  const seconds = milliseconds / 1000
  if (seconds < MINUTE) return `${seconds.toFixed(1)} s`
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min ${Math.floor(seconds % MINUTE)} s`
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h ${Math.floor((seconds % HOUR) / MINUTE)} min`
  return `${Math.floor(seconds / DAY)} d ${Math.floor((seconds % DAY) / HOUR)} h`
}

export function bytes(value: number): string {
  if (value < 1000) return `${value} B`
  if (value < 1e6) return `${(value / 1000).toFixed(1)} kB`
  return `${(value / 1e6).toFixed(1)} MB`
}

/** The last part of a path. */
export function base(path: string): string {
  return path.split(/[\\/]/).filter(Boolean).at(-1) ?? path
}
