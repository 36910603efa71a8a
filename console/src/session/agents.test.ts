import { expect, it } from "vitest"
import type { Agent } from "../api/client"
import { inTree } from "./agents"

const agent = (id: string, parent?: string) => ({ id, parent_agent_id: parent }) as Agent

const drawn = (agents: Agent[]) => inTree(agents).map(({ agent, depth }) => `${depth}${agent.id}`)

it("puts each agent after its parent, in the order given", () => {
  expect(drawn([agent("a"), agent("b"), agent("c", "a"), agent("d", "a"), agent("e", "c")])).toEqual(["0a", "1c", "2e", "1d", "0b"])
})

it("shows agents whose parent is not there, and rings of agents, once", () => {
  expect(drawn([agent("a", "gone"), agent("b", "c"), agent("c", "b")])).toEqual(["0a", "0b", "1c"])
})
