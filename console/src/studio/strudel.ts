// A link that hands code to the public REPL of Strudel. The code goes along in the address, so it is a person's click and nothing else.

export function strudelLink(code: string): string {
  const bytes = new TextEncoder().encode(code)
  let text = ""
  for (const byte of bytes) text += String.fromCharCode(byte)
  return `https://strudel.cc/#${encodeURIComponent(btoa(text))}`
}
