// Requests to the service. Paths, parameters and answers are checked against its OpenAPI document.

import createClient from "openapi-fetch"
import type { components, paths } from "./schema"

export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name]
export type Session = Schema<"SessionRead">
export type Agent = Schema<"AgentRead">
export type AgentEvent = Schema<"AgentLogRead">
export type Message = Schema<"DisplayMessage">

/** What the service refused, in its own words. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code?: string,
  ) {
    super(message)
  }
}

let whenLoggedOut = () => {}

/** Call this when the service says that this browser is not logged in. */
export function onLoggedOut(callback: () => void) {
  whenLoggedOut = callback
}

export const api = createClient<paths>({ baseUrl: "/", credentials: "same-origin" })

type Answer<Data> = { data?: Data; error?: unknown; response: Response }

/** Return what a request brought; throw a `Problem` for all else, also where the service is away (status 0). */
export async function take<Data>(request: Promise<Answer<Data>>): Promise<NonNullable<Data>> {
  let answer: Answer<Data>
  try {
    answer = await request
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error
    throw new Problem(0, "The service does not answer.")
  }
  if (answer.response.status === 401) whenLoggedOut()
  if (!answer.response.ok) {
    const problem = (answer.error ?? {}) as { detail?: string; code?: string }
    throw new Problem(answer.response.status, problem.detail ?? answer.response.statusText, problem.code)
  }
  return answer.data as NonNullable<Data>
}

/** Say in a line what went wrong. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
