// An item that is looked at and perhaps edited. Nothing typed is lost: it is a draft until the service has it.

import { reason } from "../api/client"
import { dropDraft, keepDraft, readDraft } from "./drafts"
import { change, create, isMissing, isStale, read, type Item, type Kind } from "./items"

/** Somebody else was faster: what is there now, or null where the item was deleted. */
export type Conflict = { now: Item | null }

/** An item, and a value of it that is edited: the code of a clip, the order of a song. */
export class Editing<Value> {
  item = $state.raw<Item>()
  /** What is typed and not saved, or undefined: nothing is edited. */
  value = $state.raw<Value>()
  aside = $state.raw<Value>()
  conflict = $state.raw<Conflict>()
  failure = $state("")
  isMissing = $state(false)
  /** What was typed of an item that is gone. */
  left = $state.raw<Value>()
  isSaving = $state(false)
  /** This browser keeps no draft. */
  isUnkept = $state(false)
  #version = 0
  #before: Value | undefined

  constructor(
    readonly kind: Kind,
    readonly id: string,
    readonly of: (item: Item) => Value,
    readonly changeOf: (value: Value) => { code?: string; members?: string[] },
    readonly saved: (item: Item) => void,
  ) {}

  get isChanged(): boolean {
    return this.value !== undefined && this.item !== undefined && !isSame(this.value, this.of(this.item))
  }

  /** The item that is shown is a newer one than the typing began from. */
  get isBehind(): boolean {
    return this.value !== undefined && this.item !== undefined && !isSame(this.of(this.item), this.#before)
  }

  async open() {
    const isThere = await this.refresh()
    const draft = readDraft<Value>(this.kind, this.id)
    if (!isThere) this.left = draft?.value ?? draft?.aside
    if (!isThere || !draft) return
    this.aside = draft.aside
    this.#version = draft.version
    this.#before = draft.before
    if (draft.value !== undefined && !isSame(draft.value, this.of(this.item!))) this.value = draft.value
    else this.#settle()
  }

  /** Read the item anew; what is typed stays. */
  async refresh(): Promise<boolean> {
    try {
      const item = await read(this.kind, this.id)
      // A save that ended meanwhile brought a newer one.
      if (!this.item || item.version >= this.item.version) this.#show(item)
      this.failure = ""
      return true
    } catch (error) {
      this.isMissing = isMissing(error) && !this.item
      this.failure = reason(error)
      return false
    }
  }

  #show(item: Item) {
    const isUntouched = this.value !== undefined && !this.isChanged
    this.item = item
    if (!isUntouched) return
    this.value = undefined
    this.begin()
  }

  begin() {
    if (!this.item || this.value !== undefined) return
    this.#version = this.item.version
    this.#before = this.of(this.item)
    this.value = this.#before
  }

  type(value: Value) {
    if (this.value === undefined) this.begin()
    this.value = value
    this.#keep()
  }

  async save() {
    if (this.value === undefined || this.isSaving || this.conflict) return
    this.isSaving = true
    this.failure = ""
    try {
      await this.#put(this.value)
    } catch (error) {
      if (isMissing(error)) this.conflict = { now: null }
      else if (isStale(error)) await this.#meet()
      else this.failure = reason(error)
    } finally {
      this.isSaving = false
    }
  }

  /** End editing where nothing is left to save. */
  close() {
    if (!this.isChanged) this.value = undefined
  }

  /** Give up what is typed; it can be brought back. */
  discard() {
    if (this.isChanged) this.aside = this.value
    this.value = undefined
    this.conflict = undefined
    this.#settle()
  }

  /** The item is gone, and what was typed with it. */
  forget() {
    this.value = this.aside = this.conflict = undefined
    dropDraft(this.kind, this.id)
  }

  forgetAside() {
    this.aside = undefined
    if (this.isChanged) this.#keep()
    else this.#settle()
  }

  bringBack() {
    const back = this.aside
    this.aside = undefined
    if (back === undefined) return
    if (this.isChanged) this.aside = this.value
    this.value = undefined
    this.type(back)
  }

  /** In a conflict: what is typed goes on from the version that is there now. */
  goOn() {
    const now = this.conflict?.now
    this.conflict = undefined
    if (!now) return
    this.item = now
    this.#version = now.version
    this.#before = this.of(now)
    this.#keep()
  }

  async saveMine() {
    this.goOn()
    await this.save()
  }

  takeTheirs() {
    const now = this.conflict?.now
    this.discard()
    if (now) this.take(now)
  }

  /** The item was deleted while it was edited: make it anew, with what was typed. */
  async createAgain() {
    const { item, value } = this
    if (!item || value === undefined) return
    try {
      const { id, project, name, metadata } = item
      const made = await create(this.kind, { id, project, name, metadata, ...this.changeOf(value) })
      this.conflict = undefined
      this.#version = made.version
      this.take(made)
      if (isSame(this.of(made), value)) this.#finish(value)
      else await this.save()
    } catch (error) {
      this.failure = reason(error)
    }
  }

  /** Show an item that was just read or saved elsewhere on this page. */
  take(item: Item) {
    this.item = item
    this.saved(item)
  }

  async #put(value: Value) {
    const item = await change(this.kind, this.id, this.#version, this.changeOf(value))
    this.take(item)
    this.#version = item.version
    this.#finish(value)
  }

  /** What was sent is saved; somebody may have typed on meanwhile. */
  #finish(value: Value) {
    this.#before = value
    if (isSame(this.value, value)) this.#settle()
    else this.#keep()
  }

  async #meet() {
    try {
      const now = await read(this.kind, this.id)
      // Only its name or its metadata changed: what is sent does not touch those.
      if (isSame(this.of(now), this.#before)) {
        this.take(now)
        this.#version = now.version
        await this.#put(this.value!)
      } else this.conflict = { now }
    } catch (error) {
      if (isMissing(error)) this.conflict = { now: null }
      else this.failure = isStale(error) ? "Somebody saves at the same moment. Save again." : reason(error)
    }
  }

  #keep() {
    if (this.value === undefined) return
    const draft = { value: this.value, version: this.#version, before: this.#before!, aside: this.aside }
    this.isUnkept = !keepDraft(this.kind, this.id, draft)
  }

  #settle() {
    if (this.aside === undefined) dropDraft(this.kind, this.id)
    else this.isUnkept = !keepDraft(this.kind, this.id, { version: this.#version, before: this.#before!, aside: this.aside })
  }
}

function isSame(one: unknown, other: unknown): boolean {
  if (typeof one === "string" || one === undefined) return one === other
  return JSON.stringify(one) === JSON.stringify(other)
}
