// Projects: the service has no list of them, so they are what its items name.

import { Listing } from "./listing.svelte"
import type { Item } from "./items"

export type ProjectSummary = { id: string; clips: number; songs: number; playlists: number; updatedAt: string; colors: string[] }

/** Items that are read without anybody asking for more. */
const MOST = 2000

export class Projects {
  readonly #lists = [new Listing("clip", undefined, 200), new Listing("song", undefined, 200), new Listing("playlist", undefined, 200)]

  readonly busy = $derived(this.#lists.some((list) => list.busy))
  readonly complete = $derived(this.#lists.every((list) => list.complete))
  readonly failure = $derived(this.#lists.find((list) => list.failure)?.failure ?? "")
  readonly all = $derived(summaries(this.#lists.flatMap((list) => list.items)))

  open = () => this.#upTo(MOST)
  more = () => this.#upTo(Math.max(...this.#lists.map((list) => list.items.length)) + MOST)

  async #upTo(most: number) {
    for (const list of this.#lists) list.failure = ""
    await Promise.all(this.#lists.map((list) => list.upTo(most)))
  }
}

function summaries(items: Item[]): ProjectSummary[] {
  const projects = new Map<string, ProjectSummary>()
  for (const item of items) {
    const project = projects.get(item.project) ?? { id: item.project, clips: 0, songs: 0, playlists: 0, updatedAt: "", colors: [] }
    projects.set(item.project, project)
    project[`${item.kind}s`] += 1
    if (item.updatedAt > project.updatedAt) project.updatedAt = item.updatedAt
    const { color } = item.metadata
    if (typeof color === "string" && /^#[0-9a-f]{6}$/i.test(color) && project.colors.length < 8) project.colors.push(color)
  }
  return [...projects.values()].sort((one, other) => one.id.localeCompare(other.id))
}
