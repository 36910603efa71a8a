// What somebody typed and did not save yet: it outlives a reload and a wrong click, in this tab.

import type { Kind } from "./items"

const PREFIX = "session-db.studio"

/** `value`: what is typed; `version` and `before`: what that began from. `aside`: what was typed and given up. */
export type Draft<Value> = { value?: Value; version: number; before: Value; aside?: Value }

export function keepDraft<Value>(kind: Kind, id: string, draft: Draft<Value>): boolean {
  try {
    sessionStorage.setItem(nameOf(kind, id), JSON.stringify(draft))
    return true
  } catch {
    return false
  }
}

export function readDraft<Value>(kind: Kind, id: string): Draft<Value> | undefined {
  try {
    return JSON.parse(sessionStorage.getItem(nameOf(kind, id)) ?? "null") ?? undefined
  } catch {
    return undefined
  }
}

export function dropDraft(kind: Kind, id: string) {
  try {
    sessionStorage.removeItem(nameOf(kind, id))
  } catch {
    // A browser that keeps nothing has nothing to drop.
  }
}

function nameOf(kind: Kind, id: string): string {
  return `${PREFIX}.${kind}.${id}`
}
