// Live streams: frames in order, given in batches of at most one a painted frame, and a connection that heals by itself.

const FIRST_REST = 1000
const LONGEST_REST = 15_000
const HIDDEN_REST = 30_000

export type Frame = { kind: string; data: any; id: string }

/** How the streams of this page stand, for everybody to see. */
export const connection = $state({ lost: false })

/** Follow a stream. `url` is asked anew at each connection, with the id of the last frame; returns what ends it. */
export function follow(url: (lastId: string | undefined) => string, kinds: string[], take: (frames: Frame[]) => void): () => void {
  let source: EventSource | undefined
  let lastId: string | undefined
  let waiting: Frame[] = []
  let scheduled = false
  let rest = FIRST_REST
  let timer: number | undefined
  let hiddenTimer: number | undefined

  function give() {
    scheduled = false
    const frames = waiting
    waiting = []
    if (frames.length) take(frames)
  }

  function receive(kind: string, event: MessageEvent<string>) {
    if (event.lastEventId) lastId = event.lastEventId
    waiting.push({ kind, data: JSON.parse(event.data), id: event.lastEventId })
    if (scheduled) return
    scheduled = true
    // A page in the background paints nothing, and has to take its frames all the same.
    if (document.hidden) setTimeout(give, 250)
    else requestAnimationFrame(give)
  }

  function open() {
    clearTimeout(timer)
    source?.close()
    source = new EventSource(url(lastId))
    source.onopen = () => {
      connection.lost = false
      rest = FIRST_REST
    }
    source.onerror = () => {
      connection.lost = true
      // The browser connects again by itself, unless the answer was no stream.
      if (source?.readyState !== EventSource.CLOSED) return
      timer = window.setTimeout(open, rest)
      rest = Math.min(rest * 2, LONGEST_REST)
    }
    for (const kind of kinds) source.addEventListener(kind, (event) => receive(kind, event as MessageEvent<string>))
  }

  // A browser has six connections to a host: pages that nobody looks at leave theirs to others.
  function look() {
    clearTimeout(hiddenTimer)
    if (document.hidden) {
      hiddenTimer = window.setTimeout(() => {
        source?.close()
        source = undefined
        clearTimeout(timer)
      }, HIDDEN_REST)
    } else if (source === undefined) open()
  }

  document.addEventListener("visibilitychange", look)
  open()
  return () => {
    document.removeEventListener("visibilitychange", look)
    clearTimeout(timer)
    clearTimeout(hiddenTimer)
    source?.close()
    waiting = []
  }
}
