// Agents as a tree: each after the one that began it.

import type { Agent } from "../api/client"

/** Return each agent after its parent, with how deep it stands. Those that are their own ancestors stand as roots. */
export function tree(agents: Agent[]): { agent: Agent; depth: number }[] {
  const known = new Set(agents.map((agent) => agent.id))
  const children = Map.groupBy(agents, (agent) => (agent.parent_agent_id && known.has(agent.parent_agent_id) ? agent.parent_agent_id : ""))
  const drawn = new Map<string, { agent: Agent; depth: number }>()
  for (const root of [...(children.get("") ?? []), ...agents]) {
    const todo = [{ agent: root, depth: 0 }]
    for (let next = todo.pop(); next; next = todo.pop()) {
      const { agent, depth } = next
      if (drawn.has(agent.id)) continue
      drawn.set(agent.id, next)
      todo.push(...(children.get(agent.id) ?? []).toReversed().map((child) => ({ agent: child, depth: depth + 1 })))
    }
  }
  return [...drawn.values()]
}
