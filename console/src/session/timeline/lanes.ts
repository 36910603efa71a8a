// Agents as lanes: each below the one that began it, and as high as it has calls at once.

import type { Agent } from "../../api/client"
import { inTree } from "../agents"
import type { Store } from "./store"

export const TRACK = 14
const TICKS = 9
const AROUND = 7
const LEAST_TRACKS = 1

export type Lane = { id: string | undefined; title: string; depth: number; agent?: Agent; y: number; height: number; tracks: number }
export type Lanes = { list: Lane[]; height: number; ofStore: Int32Array }

/** Lay out the lanes of a session; the session itself is the first where it has events of its own. */
export function lanesOf(agents: readonly Agent[], store: Store): Lanes {
  const tree = inTree(agents)
  const listed = new Set(tree.map(({ agent }) => agent.id))
  const unknown = store.agents.filter((id) => id !== undefined && !listed.has(id))
  const heads = [
    ...(store.agents.includes(undefined) || tree.length + unknown.length === 0 ? [{ id: undefined, title: "Session", depth: 0 }] : []),
    ...tree.map(({ agent, depth }) => ({ id: agent.id, title: titleOf(agent), depth, agent })),
    ...unknown.map((id) => ({ id, title: `agent ${id!.slice(0, 8)}`, depth: 0 })),
  ]
  const places = new Map(store.agents.map((id, place) => [id, place]))
  const ofStore = new Int32Array(store.agents.length)
  let y = 0
  const list = heads.map((head, number) => {
    const place = places.get(head.id)
    if (place !== undefined) ofStore[place] = number
    const tracks = Math.max(LEAST_TRACKS, place === undefined ? 0 : store.trackCounts[place]!)
    const lane: Lane = { ...head, y, tracks, height: AROUND + tracks * TRACK + TICKS }
    y += lane.height
    return lane
  })
  return { list, height: y, ofStore }
}

/** Return the first lane that reaches below `y`. */
export function laneAt(lanes: Lanes, y: number): number {
  let low = 0
  let high = lanes.list.length
  while (low < high) {
    const middle = (low + high) >> 1
    const lane = lanes.list[middle]!
    if (lane.y + lane.height <= y) low = middle + 1
    else high = middle
  }
  return low
}

export function titleOf(agent: Agent): string {
  return agent.name && agent.name !== agent.agent_type ? `${agent.name} · ${agent.agent_type}` : agent.agent_type
}
