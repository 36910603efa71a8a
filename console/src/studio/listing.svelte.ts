// Items of one kind, page by page.

import { reason } from "../api/client"
import { isMissing, list, read, type Item, type Kind } from "./items"

const MOST = 2000
const MOST_LOOKED_THROUGH = 300
const AT_ONCE = 4

export class Listing {
  items = $state.raw<Item[]>([])
  busy = $state(false)
  failure = $state("")
  /** All of them are here. */
  complete = $state(false)
  #cursor: string | undefined

  constructor(
    readonly kind: Kind,
    readonly project: string | undefined,
    readonly size = 50,
  ) {}

  readonly byId = $derived(new Map(this.items.map((item) => [item.id, item])))

  more = async () => {
    if (this.busy || this.complete) return
    this.busy = true
    this.failure = ""
    try {
      const page = await list(this.kind, {
        limit: this.size,
        ...(this.project !== undefined && { project_id: this.project }),
        ...(this.#cursor && { cursor: this.#cursor }),
      })
      const known = new Set(page.items.map((item) => item.id))
      this.items = [...this.items.filter((item) => !known.has(item.id)), ...page.items]
      this.#cursor = page.cursor
      this.complete = page.cursor === undefined
    } catch (error) {
      this.failure = reason(error)
    } finally {
      this.busy = false
    }
  }

  /** Read on until all are here, or as many as `most`. */
  async upTo(most: number) {
    while (!this.complete && !this.failure && this.items.length < most) {
      if (this.busy) return
      await this.more()
    }
  }

  /** Read on until this one is here, if it comes soon. */
  async upToItem(id: string) {
    while (!this.byId.has(id) && !this.complete && !this.failure && !this.busy && this.items.length < MOST_LOOKED_THROUGH) await this.more()
  }

  /** Take what was just read or saved. */
  put(item: Item) {
    const place = this.items.findIndex((each) => each.id === item.id)
    this.items = place < 0 ? [...this.items, item] : this.items.with(place, item)
  }

  drop(id: string) {
    this.items = this.items.filter((item) => item.id !== id)
  }
}

/** A project: its three lists, and names of items of other projects that they name. */
export class Project {
  readonly clip: Listing
  readonly song: Listing
  readonly playlist: Listing
  readonly #usedClips: ReadonlySet<string>
  readonly #usedSongs: ReadonlySet<string>
  /** Items that are of no list here: null is one that does not exist. */
  others = $state.raw(new Map<string, Item | null>())

  constructor(readonly id: string) {
    this.clip = new Listing("clip", id, 60)
    this.song = new Listing("song", id, 200)
    this.playlist = new Listing("playlist", id, 200)
    this.#usedClips = $derived(new Set(this.song.items.flatMap((song) => song.members)))
    this.#usedSongs = $derived(new Set(this.playlist.items.flatMap((playlist) => playlist.members)))
  }

  /** No song of this project has the clip, no playlist the song; false as long as nobody knows. */
  isUnused(item: Item): boolean {
    if (item.kind === "clip") return this.song.complete && !this.#usedClips.has(item.id)
    return item.kind === "song" && this.playlist.complete && !this.#usedSongs.has(item.id)
  }

  /** Read the first pages; `clipId` is one that is shown. */
  async open(clipId: string | undefined) {
    await Promise.all([clipId === undefined ? this.clip.more() : this.clip.upToItem(clipId), this.song.upTo(MOST), this.playlist.upTo(MOST)])
  }

  /** Return an item that another one names: null where there is none, undefined while nobody knows. */
  named(kind: Kind, id: string): Item | null | undefined {
    return this[kind].byId.get(id) ?? this.others.get(`${kind} ${id}`)
  }

  /** Look up those of these ids that the lists do not have. */
  async lookUp(kind: Kind, ids: string[]) {
    await this[kind].upTo(MOST_LOOKED_THROUGH)
    const wanted = [...new Set(ids)].filter((id) => this.named(kind, id) === undefined)
    for (let start = 0; start < wanted.length; start += AT_ONCE) {
      const found = await Promise.all(wanted.slice(start, start + AT_ONCE).map((id) => this.#find(kind, id)))
      this.others = new Map([...this.others, ...found.filter((entry) => entry !== undefined)])
    }
  }

  async #find(kind: Kind, id: string): Promise<[string, Item | null] | undefined> {
    try {
      return [`${kind} ${id}`, await read(kind, id)]
    } catch (error) {
      return isMissing(error) ? [`${kind} ${id}`, null] : undefined
    }
  }
}
