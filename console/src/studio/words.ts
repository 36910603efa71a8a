// Numbers and moments in words.

import { ago, count } from "../format"

export function counted(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`
}

/** How long ago, as it reads in a sentence. */
export function since(moment: string, now: number): string {
  const short = ago(moment, now)
  return short === "now" ? "just now" : /^\d+ (s|min|h|d)$/.test(short) ? `${short} ago` : short
}
