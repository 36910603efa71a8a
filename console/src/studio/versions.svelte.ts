// What a clip was before: the versions that changes of its code replaced, the newest first.

import { api, reason, take, type Schema } from "../api/client"
import { ifMatch, itemOf, type Item } from "./items"

type Kept = Schema<"ClipVersionRead">

/** A version, and what made it. Who made it is unknown where that was not said, or the version before is not loaded yet. */
export type Entry = {
  version: number
  bytes: number
  madeAt: string | undefined
  sessionId: string | undefined
  messageIndex: number | undefined
}

const PAGE = 30

export class History {
  kept = $state.raw<Kept[]>([])
  busy = $state(false)
  failure = $state("")
  complete = $state(false)
  #cursor: string | undefined
  #newest = 0
  readonly #codes = new Map<number, string>()

  constructor(readonly id: string) {}

  /** Read the first page, and again when the clip has another version. */
  async begin(version: number) {
    if (version === this.#newest) return
    this.#newest = version
    this.#cursor = undefined
    await this.#load(true)
  }

  more = () => this.#load(false)

  entries(clip: Item): Entry[] {
    const present = { version: clip.version, code_bytes: new TextEncoder().encode(clip.code).length }
    const versions = [present, ...this.kept.filter((kept) => kept.version < clip.version)]
    return versions.map(({ version, code_bytes }, place) => {
      // A version tells of the change that replaced it: that made the next one.
      const former = versions[place + 1] as Kept | undefined
      const isFirst = former === undefined && this.complete
      return {
        version,
        bytes: code_bytes,
        madeAt: former?.created_at ?? (isFirst ? clip.createdAt : undefined),
        sessionId: former?.session_id ?? undefined,
        messageIndex: former?.message_index ?? undefined,
      }
    })
  }

  /** Return the code and metadata that the clip had at a version. One that was not kept had the code of the next one that was. */
  async at(clip: Item, version: number): Promise<{ code: string; metadata: Record<string, unknown> }> {
    if (version > clip.version) throw new Error(`There is no version ${version} of this clip; the newest is ${clip.version}.`)
    while (!this.complete && !this.failure && (this.kept.at(-1)?.version ?? Infinity) > version) await this.#load(false)
    if (this.failure) throw new Error(this.failure)
    const kept = this.kept.findLast((each) => each.version >= version)
    if (!kept || kept.version >= clip.version) return { code: clip.code, metadata: clip.metadata }
    return { code: await this.#code(kept.version), metadata: kept.metadata ?? {} }
  }

  async restore(version: number, clip: Item): Promise<Item> {
    const params = { path: { clip_id: this.id, version }, header: ifMatch(clip.version) }
    return itemOf("clip", await take(api.POST("/api/clips/{clip_id}/versions/{version}/restore", { params })))
  }

  async #code(version: number): Promise<string> {
    const known = this.#codes.get(version)
    if (known !== undefined) return known
    const path = { clip_id: this.id, version }
    const { code } = await take(api.GET("/api/clips/{clip_id}/versions/{version}", { params: { path } }))
    this.#codes.set(version, code ?? "")
    return code ?? ""
  }

  async #load(anew: boolean) {
    while (this.#loading) await this.#loading
    if (!anew && this.complete) return
    this.#loading = this.#page(anew)
    await this.#loading
    this.#loading = undefined
  }

  #loading: Promise<void> | undefined

  async #page(anew: boolean) {
    this.busy = true
    try {
      const query = { limit: PAGE, ...(!anew && this.#cursor && { cursor: this.#cursor }) }
      const page = await take(api.GET("/api/clips/{clip_id}/versions", { params: { path: { clip_id: this.id }, query } }))
      this.kept = anew ? page.items : [...this.kept, ...page.items]
      this.#cursor = page.next_cursor ?? undefined
      this.complete = this.#cursor === undefined
      this.failure = ""
    } catch (error) {
      this.failure = reason(error)
    } finally {
      this.busy = false
    }
  }
}
