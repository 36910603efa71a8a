// Reading Markdown that nobody answers for: what would take seconds to read or to draw stays text.

import { marked, type Token } from "marked"

const MOST_CHARACTERS = 100_000
/** Reading emphasis takes a time that grows with the square of a paragraph. */
const LONGEST_PARAGRAPH = 12_000
const MOST_TOKENS = 12_000

/** Return the tokens of a Markdown text, or undefined where it is better shown as it is written. */
export function lexed(text: string): Token[] | undefined {
  if (text.length > MOST_CHARACTERS || longestParagraph(text) > LONGEST_PARAGRAPH) return undefined
  try {
    const tokens = marked.lexer(text)
    let count = 0
    marked.walkTokens(tokens, () => void count++)
    return count > MOST_TOKENS ? undefined : tokens
  } catch {
    // Quotes in quotes in quotes go deeper than what reads them.
    return undefined
  }
}

function longestParagraph(text: string): number {
  return Math.max(...text.split(/\n[ \t]*\n/).map((paragraph) => paragraph.length))
}
