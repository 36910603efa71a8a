// Live streams: frames in order, given in batches of at most one a painted frame, and a connection that heals by itself.

const FIRST_REST = 1000
const LONGEST_REST = 15_000
const HIDDEN_REST = 30_000

export type Frame = { kind: string; data: any; id: string }

export type Following = {
  /** The address, asked anew at each connection, when all frames before were given. */
  url: () => string
  kinds: string[]
  take: (frames: Frame[]) => void
  /** Called where the service gives no stream, before it is asked again: the browser does not say why. */
  refused: () => Promise<void>
  /** Called when a stream is opened again that nobody looked at for a while. */
  reopened?: () => void
}

/** How the streams of this page stand, for everybody to see. */
export const connection = $state({ lost: false })
const lost = new Set<Following>()

function tell(following: Following, isLost: boolean) {
  if (isLost) lost.add(following)
  else lost.delete(following)
  connection.lost = lost.size > 0
}

/** Follow a stream; a page that was opened in the background begins when somebody looks. Returns what ends it. */
export function follow(following: Following): () => void {
  let source: EventSource | undefined
  let waiting: Frame[] = []
  let scheduled = false
  let rest = FIRST_REST
  let timer: number | undefined
  let hiddenTimer: number | undefined
  let hasEnded = false

  function give() {
    scheduled = false
    const frames = waiting
    waiting = []
    if (frames.length) following.take(frames)
  }

  function receive(kind: string, event: MessageEvent<string>) {
    waiting.push({ kind, data: JSON.parse(event.data), id: event.lastEventId })
    if (scheduled) return
    scheduled = true
    // A page in the background paints nothing, and has to take its frames all the same.
    if (document.hidden) setTimeout(give, 250)
    else requestAnimationFrame(give)
  }

  function open() {
    clearTimeout(timer)
    give()
    if (hasEnded) return
    const opened = (source = new EventSource(following.url()))
    opened.onopen = () => {
      tell(following, false)
      rest = FIRST_REST
    }
    opened.onerror = () => {
      tell(following, true)
      // The browser connects again by itself, unless the answer was no stream.
      if (opened.readyState === EventSource.CLOSED) void askAgain(opened)
    }
    for (const kind of following.kinds) opened.addEventListener(kind, (event) => receive(kind, event as MessageEvent<string>))
  }

  async function askAgain(refused: EventSource) {
    await following.refused()
    if (hasEnded || source !== refused) return
    timer = window.setTimeout(open, rest)
    rest = Math.min(rest * 2, LONGEST_REST)
  }

  // A browser has six connections to a host: pages that nobody looks at leave theirs to others.
  function look() {
    clearTimeout(hiddenTimer)
    if (document.hidden) hiddenTimer = window.setTimeout(close, HIDDEN_REST)
    else if (source === undefined) {
      open()
      following.reopened?.()
    }
  }

  function close() {
    clearTimeout(timer)
    source?.close()
    source = undefined
    tell(following, false)
  }

  document.addEventListener("visibilitychange", look)
  if (!document.hidden) open()
  return () => {
    hasEnded = true
    document.removeEventListener("visibilitychange", look)
    clearTimeout(hiddenTimer)
    close()
    waiting = []
  }
}
