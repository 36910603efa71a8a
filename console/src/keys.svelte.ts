// Keyboard shortcuts: each part of the page says which it has, and `?` lists them all.

import { untrack } from "svelte"

export type Shortcut = { key: string; does: string; run: (event: KeyboardEvent) => void }

export const shortcuts = new (class {
  list = $state.raw<Shortcut[]>([])
})()

/** Have these shortcuts as long as a component is there: `$effect(() => useShortcuts([...]))`. */
export function useShortcuts(mine: Shortcut[]): () => void {
  // An effect that read the list would run again with each shortcut of others.
  shortcuts.list = [...untrack(() => shortcuts.list), ...mine]
  return () => {
    shortcuts.list = untrack(() => shortcuts.list).filter((each) => !mine.includes(each))
  }
}

/** Run the shortcut of a key, unless somebody is typing. The last part that asked for a key has it. */
export function pressed(event: KeyboardEvent) {
  // An input method has its own use for Escape and Enter.
  if (event.defaultPrevented || event.isComposing || event.metaKey || event.ctrlKey || event.altKey) return
  const target = event.target as HTMLElement
  const typing = target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)
  if (typing) {
    // Whoever leaves a field does not want to leave the page.
    if (event.key !== "Escape") return
    target.blur()
    // A browser would empty a field of a search as well.
    event.preventDefault()
    return
  }
  // A dialog has the keyboard to itself: Escape closes it, and nothing else.
  if (document.querySelector("dialog[open]")) return
  const shortcut = shortcuts.list.findLast((each) => each.key === event.key)
  if (!shortcut) return
  // A link or a button that has the focus is what Enter is for.
  if (event.key === "Enter" && target.closest("a, button, summary, [role=tab]")) return
  event.preventDefault()
  shortcut.run(event)
}
