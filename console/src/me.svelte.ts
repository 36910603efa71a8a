// Who looks: the token of this browser, and what it may do.

import { api, onLoggedOut, take, type Schema } from "./api/client"

export const me = $state<{ token: Schema<"Me"> | undefined; loggedOut: boolean }>({ token: undefined, loggedOut: false })

export async function lookWhoIAm() {
  onLoggedOut(() => (me.loggedOut = true))
  me.token = await take(api.GET("/api/me"))
  me.loggedOut = false
}

export function mayWrite(): boolean {
  return me.token?.scope === "write" || me.token?.scope === "admin"
}
