// Agents as lanes: each below the one that began it, and as high as it has calls at once.

import type { Agent } from "../../api/client"
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

/** Return each agent after its parent, with how deep it stands. */
export function inTree(agents: readonly Agent[]): { agent: Agent; depth: number }[] {
  const known = new Set(agents.map((agent) => agent.id))
  const children = new Map<string, Agent[]>()
  const roots: Agent[] = []
  for (const agent of agents) {
    const parent = agent.parent_agent_id
    if (!parent || !known.has(parent)) roots.push(agent)
    else if (children.has(parent)) children.get(parent)!.push(agent)
    else children.set(parent, [agent])
  }
  const drawn = new Map<string, { agent: Agent; depth: number }>()
  // Nothing leads to agents that are their own ancestors: the first of them that is still missing stands as a root.
  for (const root of [...roots, ...agents]) {
    const todo = [{ agent: root, depth: 0 }]
    for (let next = todo.pop(); next; next = todo.pop()) {
      const { agent, depth } = next
      if (drawn.has(agent.id)) continue
      drawn.set(agent.id, next)
      for (const child of (children.get(agent.id) ?? []).toReversed()) todo.push({ agent: child, depth: depth + 1 })
    }
  }
  return [...drawn.values()]
}
