/** Where results go: bench/results/, which is not in the repository. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

export function resultFile(kind) {
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '')
  return fileURLToPath(new URL(`../results/${stamp}-${kind}.json`, import.meta.url))
}

export function writeJson(file, document) {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(document, null, 2)}\n`)
}
