// A window on a conversation of any length: what is far out of sight is let go, and loaded again when it is scrolled to.

import { api, reason, take, type Message } from "../api/client"
import type { Feed } from "./feed.svelte"

export const PAGE = 60
const MOST = 360

export class Messages {
  items = $state.raw<Message[]>([])
  hasOlder = $state(false)
  hasNewer = $state(false)
  busy = $state(true)
  failure = $state("")
  /** Called just before a page changes the list: where things are then is what has to be kept. */
  beforeChange = () => {}

  #arrived: Message[] = []
  #loads = 0

  constructor(readonly feed: Feed) {}

  /** Load the end of the conversation, or the place of one message. */
  async open(at?: number) {
    await this.#load(at === undefined ? {} : { before_index: at + PAGE / 2 }, (page) => {
      this.items = page
      this.hasOlder = (page[0]?.message_index ?? 0) > 0
      this.hasNewer = this.#isBehind()
    })
  }

  async loadOlder() {
    const first = this.items[0]
    if (!first || !this.hasOlder || this.busy) return
    await this.#load({ before_index: first.message_index }, (page) => {
      this.items = [...page, ...this.items].slice(0, MOST)
      this.hasOlder = page.length > 0 && page[0]!.message_index > 0
      this.hasNewer = this.#isBehind()
    })
  }

  async loadNewer() {
    const last = this.items.at(-1)
    if (!last || !this.hasNewer || this.busy) return
    await this.#load({ after_index: last.message_index }, (page) => {
      this.items = [...this.items, ...page].slice(-MOST)
      this.hasOlder = (this.items[0]?.message_index ?? 0) > 0
      this.hasNewer = page.length > 0 && this.#isBehind()
    })
  }

  /** Read those that are here anew: some of them may have been replaced. */
  async reload() {
    const first = this.items[0]?.message_index
    if (this.busy) return
    await this.#load(first === undefined ? {} : { after_index: first - 1, page_size: Math.max(PAGE, this.items.length) }, (page) => {
      this.items = page
      this.hasOlder = (page[0]?.message_index ?? 0) > 0
      this.hasNewer = this.#isBehind()
    })
  }

  /** Take in what came while somebody looks; where its end is out of sight it is loaded later. */
  append(messages: Message[], { mayDrop = true } = {}) {
    // A page that is being read may have been read before them.
    if (this.busy) this.#arrived.push(...messages)
    else if (!mayDrop && this.items.length >= MOST) this.hasNewer = true
    else this.#put(messages)
  }

  #put(messages: Message[]) {
    let items = [...this.items]
    for (const message of messages) {
      const next = (items.at(-1)?.message_index ?? message.message_index - 1) + 1
      this.hasNewer = message.message_index > next
      if (this.hasNewer) break
      // What a transcript says of what hooks told is given anew, under the same index.
      if (message.message_index < next) items = items.filter((each) => each.message_index < message.message_index)
      items.push(message)
    }
    this.items = items.slice(-MOST)
    this.hasOlder = (this.items[0]?.message_index ?? 0) > 0
  }

  #isBehind(): boolean {
    return (this.items.at(-1)?.message_index ?? -1) + 1 < (this.feed.session?.message_count ?? 0)
  }

  async #load(query: { before_index?: number; after_index?: number; page_size?: number }, put: (page: Message[]) => void) {
    const mine = ++this.#loads
    this.busy = true
    try {
      const path = { session_id: this.feed.id }
      const page = await take(api.GET("/api/messages/{session_id}", { params: { path, query: { page_size: PAGE, ...query } } }))
      // The end was asked for while a page was read that would not follow it.
      if (mine !== this.#loads) return
      this.beforeChange()
      put(page.items)
      this.failure = ""
    } catch (error) {
      if (mine === this.#loads) this.failure = reason(error)
    } finally {
      if (mine === this.#loads) this.#loaded()
    }
  }

  #loaded() {
    this.busy = false
    const arrived = this.#arrived
    this.#arrived = []
    if (arrived.length) this.#put(arrived)
  }
}
