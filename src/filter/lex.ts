/**
 * Lines into words, as iptables-restore splits them: spaces and tabs separate, double quotes keep
 * together, and inside quotes a backslash takes the next character as it is. A word may continue into
 * a quote (--log-prefix="a b"), but a closing quote ends it. Single quotes mean nothing.
 */
import { Wrong } from './error.ts'

/** Longest line and most words of one, as in iptables-restore (10240 bytes, 255 arguments). */
export const MAX_LINE = 10_240
export const MAX_WORDS = 255

export function splitWords(line: string): string[] {
  if (!line.includes('"')) {
    const plain = line.split(/[ \t]+/).filter((word) => word !== '')
    if (plain.length > MAX_WORDS) throw new Wrong(`more than ${MAX_WORDS} words in a line`)
    return plain
  }
  const words: string[] = []
  let at = 0
  while (at < line.length) {
    if (isBlank(line[at])) {
      at++
      continue
    }
    let word = ''
    while (at < line.length && !isBlank(line[at])) {
      if (line[at] !== '"') {
        word += line[at++]
        continue
      }
      at++
      while (line[at] !== '"') {
        if (line[at] === '\\') at++
        if (at >= line.length) throw new Wrong('a double quote is not closed')
        word += line[at++]
      }
      at++
      if (at < line.length && !isBlank(line[at])) throw new Wrong('a closing quote must end the word')
    }
    words.push(word)
    if (words.length > MAX_WORDS) throw new Wrong(`more than ${MAX_WORDS} words in a line`)
  }
  return words
}

function isBlank(char: string): boolean {
  return char === ' ' || char === '\t'
}

/** A text as iptables-save writes comments and prefixes: bare if only letters, digits, _ and -. */
export function quoteText(text: string): string {
  return /^[\w-]+$/.test(text) ? text : `"${text.replace(/["\\']/g, '\\$&')}"`
}

/** A name, which iptables-save writes bare; quoted only where it could not be read back otherwise. */
export function quoteName(name: string): string {
  return /^[^\s"\\]+$/.test(name) ? name : `"${name.replace(/["\\]/g, '\\$&')}"`
}
