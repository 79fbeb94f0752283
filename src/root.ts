/** Where the package lies: one level above this file in src/, and above the bundles in dist/. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const packageRoot = fileURLToPath(new URL('..', import.meta.url))
export const { version } = JSON.parse(readFileSync(`${packageRoot}/package.json`, 'utf8')) as {
  version: string
}
