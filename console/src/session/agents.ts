// Agents as a tree: each after the one that began it.

import type { Agent } from "../api/client"

/** Return each agent after its parent, with how deep it stands. Those that are their own ancestors stand as roots. */
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
