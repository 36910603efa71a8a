// The editor of code. It lives in a shadow root: there its styles are style sheets, which the page's policy lets in, and no <style> elements.

import { defaultKeymap, history, historyKeymap } from "@codemirror/commands"
import { javascript } from "@codemirror/lang-javascript"
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language"
import { EditorState } from "@codemirror/state"
import { EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers } from "@codemirror/view"
import { tags } from "@lezer/highlight"

export type Options = { code: string; label: string; change: (code: string) => void; save: () => void }
export type Editor = { put: (code: string) => void; focus: () => void; destroy: () => void }

const colors = HighlightStyle.define([
  { tag: [tags.keyword, tags.bool, tags.null, tags.self], color: "var(--code-keyword)" },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], color: "var(--code-string)" },
  { tag: [tags.number, tags.propertyName], color: "var(--code-number)" },
  { tag: tags.comment, color: "var(--code-comment)" },
  { tag: [tags.function(tags.variableName), tags.function(tags.propertyName), tags.definition(tags.variableName)], color: "var(--code-title)" },
])

const look = EditorView.theme({
  "&": { backgroundColor: "var(--sunken)", color: "var(--text)", fontSize: "0.85rem" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", minHeight: "12rem", maxHeight: "70vh" },
  ".cm-content": { caretColor: "var(--accent)" },
  ".cm-gutters": { backgroundColor: "var(--sunken)", color: "var(--muted)", borderRight: "1px solid var(--border)" },
  ".cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--accent) 5%, transparent)" },
  ".cm-activeLineGutter": { backgroundColor: "var(--hover)", color: "var(--text)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-soft)", outline: "1px solid var(--accent)" },
})

export function mountEditor(host: HTMLElement, { code, label, change, save }: Options): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" })
  const view = new EditorView({ root, parent: root, state: EditorState.create({ doc: code, extensions: extensions() }) })
  let isPut = false

  function extensions() {
    return [
      lineNumbers(),
      highlightActiveLine(),
      highlightActiveLineGutter(),
      history(),
      indentOnInput(),
      bracketMatching(),
      javascript(),
      syntaxHighlighting(colors),
      look,
      EditorView.lineWrapping,
      EditorView.contentAttributes.of({ "aria-label": label }),
      lineEnds(code),
      keymap.of([{ key: "Mod-s", run: saved, preventDefault: true }, ...defaultKeymap, ...historyKeymap]),
      EditorView.updateListener.of((update) => {
        if (update.docChanged && !isPut) change(update.state.sliceDoc())
      }),
    ]
  }

  function saved() {
    save()
    return true
  }

  function put(text: string) {
    if (text === view.state.sliceDoc()) return
    isPut = true
    view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: view.state.toText(text) } })
    isPut = false
  }

  return { put, focus: () => view.focus(), destroy: () => view.destroy() }
}

/** Keep the line ends that the code has, where all are the same. */
function lineEnds(code: string) {
  return /\r\n/.test(code) && !/(^|[^\r])\n/.test(code) ? EditorState.lineSeparator.of("\r\n") : []
}
