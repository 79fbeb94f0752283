// Bundles a file of the tests the way scripts/build.mjs bundles the worker, so that V8 sees the same
// single file. It has to lie one level below the package's root, where the addon is looked for.
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Returns the bundle's path; remove it with `forget`. */
export async function bundle(entry, name) {
  const outfile = `${root}dist/test-${name}-${process.pid}.mjs`
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    packages: 'external',
    logLevel: 'warning',
  })
  return outfile
}

export function forget(outfile) {
  rmSync(outfile, { force: true })
}
