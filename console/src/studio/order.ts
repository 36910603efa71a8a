// An order that is changed by moving one entry.

/** An entry has a key of its own: a song may play a clip twice. */
export type Entry = { key: number; id: string }

export function moved<Value>(values: Value[], from: number, to: number): Value[] {
  const target = Math.max(0, Math.min(values.length - 1, to))
  const rest = values.toSpliced(from, 1)
  return rest.toSpliced(target, 0, values[from]!)
}

/** Give each id a key; what was there keeps its own. */
export function entriesOf(ids: string[], former: Entry[]): Entry[] {
  const left = [...former]
  let next = Math.max(-1, ...former.map((entry) => entry.key)) + 1
  return ids.map((id) => {
    const place = left.findIndex((entry) => entry.id === id)
    return place < 0 ? { key: next++, id } : left.splice(place, 1)[0]!
  })
}

/** Return the place where something at this height belongs, among rows with these middles. */
export function placeAt(y: number, middles: number[], from: number): number {
  return middles.filter((middle, place) => place !== from && middle < y).length
}
