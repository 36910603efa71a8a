// What the studio reads of an item's metadata. Any program may have written it: each value is looked at before it is shown.

export type Look = {
  /** #RRGGBB, or none. */
  color: string | undefined
  bpm: number | undefined
  scale: string | undefined
  tags: string[]
  /** What is wrong, a line each. */
  notes: string[]
}

const LONGEST_TEXT = 40
const MOST_TAGS = 12

export function lookAt(metadata: Record<string, unknown>): Look {
  const notes: string[] = []
  const { color, bpm, scale, tags } = metadata
  const look: Look = { color: undefined, bpm: undefined, scale: undefined, tags: [], notes }
  if (isGiven(color)) {
    if (typeof color === "string" && /^#[0-9a-f]{6}$/i.test(color)) look.color = color
    else notes.push(`color ${shown(color)} is no #RRGGBB`)
  }
  if (isGiven(bpm)) {
    if (typeof bpm === "number" && Number.isFinite(bpm) && bpm > 0 && bpm < 10_000) look.bpm = bpm
    else notes.push(`bpm ${shown(bpm)} is no tempo`)
  }
  if (isGiven(scale)) {
    if (isShort(scale)) look.scale = scale
    else notes.push(`scale ${shown(scale)} is no short text`)
  }
  if (isGiven(tags)) look.tags = tagsOf(tags, notes)
  return look
}

function tagsOf(tags: unknown, notes: string[]): string[] {
  if (!Array.isArray(tags)) {
    notes.push(`tags ${shown(tags)} is no list`)
    return []
  }
  const good = [...new Set(tags.filter(isShort))]
  const wrong = tags.find((tag) => !isShort(tag))
  if (wrong !== undefined) notes.push(`tag ${shown(wrong)} is no short text`)
  if (good.length > MOST_TAGS) notes.push(`${good.length - MOST_TAGS} more tags`)
  return good.slice(0, MOST_TAGS)
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && value !== ""
}

function isShort(value: unknown): value is string {
  return typeof value === "string" && value.trim() !== "" && value.length <= LONGEST_TEXT
}

/** Return a value as text that cannot be long. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 30 ? `${text.slice(0, 29)}…` : text
}

/** What a person may write of it in a form. */
export type Form = { color: string; bpm: string; scale: string; tags: string }

export function formOf(metadata: Record<string, unknown>): Form {
  const { color, bpm, scale, tags } = lookAt(metadata)
  return { color: color ?? "", bpm: bpm === undefined ? "" : String(bpm), scale: scale ?? "", tags: tags.join(", ") }
}

/** Return metadata with what a form changed, or say which field is wrong. A field that was left as it was stays as it was stored. */
export function withForm(metadata: Record<string, unknown>, form: Form): { metadata: Record<string, unknown> } | { problem: string } {
  const before = formOf(metadata)
  const changed: Record<string, unknown> = {}
  if (form.color.trim() !== before.color) changed.color = form.color.trim()
  if (form.bpm.trim() !== before.bpm) changed.bpm = form.bpm.trim() && Number(form.bpm.replace(",", "."))
  if (form.scale.trim() !== before.scale) changed.scale = form.scale.trim()
  if (form.tags.trim() !== before.tags) changed.tags = form.tags.split(",").map((tag) => tag.trim()).filter(Boolean)
  const [problem] = lookAt(changed).notes
  if (problem) return { problem }
  const kept = Object.entries({ ...metadata, ...changed }).filter(([name, value]) => !(name in changed) || isGiven(value))
  return { metadata: Object.fromEntries(kept) }
}
