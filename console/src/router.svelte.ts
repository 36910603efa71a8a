// Where the page is: the address decides what is shown, and Back and Forward do what people expect.

export const place = $state({ path: location.pathname, search: location.search })

/** Return the parts of a path; one that is no text in UTF-8 stays as it is written. */
export function partsOf(path: string): string[] {
  return path.split("/").filter(Boolean).map(decoded)
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** Return a parameter of the address. */
export function parameter(name: string): string {
  return new URLSearchParams(place.search).get(name) ?? ""
}

/** Return the address of this page with some parameters changed; an empty one is left out. */
export function withParameters(changes: Record<string, string>): string {
  const parameters = new URLSearchParams(place.search)
  for (const [name, value] of Object.entries(changes)) {
    if (value) parameters.set(name, value)
    else parameters.delete(name)
  }
  const text = parameters.toString()
  return place.path + (text ? `?${text}` : "")
}

export function navigate(to: string, { replace = false } = {}) {
  const target = new URL(to, location.origin)
  if (target.pathname + target.search === location.pathname + location.search) return
  const isOtherPage = target.pathname !== location.pathname
  history[replace ? "replaceState" : "pushState"](null, "", target.pathname + target.search)
  if (isOtherPage) history.scrollRestoration = "auto"
  here()
  if (isOtherPage && !replace) scrollTo(0, 0)
}

/** Note where somebody is on this page, for who comes back to it or loads it anew; null: the browser scrolls there itself. */
export function noteSpot(spot: object | null) {
  history.replaceState(spot, "")
  history.scrollRestoration = spot ? "manual" : "auto"
}

/** Return what was noted when this page was left. */
export function notedSpot<Spot>(): Spot | null {
  return history.state
}

function here() {
  place.path = location.pathname
  place.search = location.search
}

/** Take over plain clicks on links of this console. Returns what ends it. */
export function startRouter(): () => void {
  function click(event: MouseEvent) {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    const link = (event.target as Element).closest?.("a[href]")
    if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute("download") || link.origin !== location.origin) return
    // A place on the page that is shown is the browser's own affair.
    const isHere = link.pathname + link.search === location.pathname + location.search
    if (!isPage(link.pathname) || (isHere && link.hash)) return
    event.preventDefault()
    navigate(link.pathname + link.search)
  }
  addEventListener("popstate", here)
  document.addEventListener("click", click)
  return () => {
    removeEventListener("popstate", here)
    document.removeEventListener("click", click)
  }
}

function isPage(path: string): boolean {
  return path === "/" || /^\/(sessions|search|studio|settings)(\/|$)/.test(path)
}
