// Bundles src/ into dist/: index.js (the library), worker.js (the data plane, in one file so that V8
// inlines across modules) and cli.js. `--types` writes the declarations too.
import { execFileSync } from 'node:child_process'
import { chmodSync, readdirSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  packages: 'external',
  sourcemap: 'linked',
  logLevel: 'warning',
}
const [, split] = await Promise.all([
  build({
    ...common,
    entryPoints: { index: 'src/index.ts', worker: 'src/engine/worker.ts' },
    outdir: 'dist',
  }),
  build({
    ...common,
    // Split, so that `--help` does not load what only `up` needs.
    entryPoints: { cli: 'src/cli/main.ts' },
    outdir: 'dist',
    splitting: true,
    metafile: true,
    banner: { js: '#!/usr/bin/env node' },
  }),
])
const made = Object.keys(split.metafile.outputs).map((path) => path.replace('dist/', ''))
for (const file of readdirSync(`${root}/dist`)) {
  // Other builds' pieces.
  if (!made.includes(file) && !/^(index|worker)\.js|^types$/.test(file)) {
    rmSync(`${root}/dist/${file}`, { recursive: true })
  }
}
chmodSync(`${root}/dist/cli.js`, 0o755)
if (process.argv.includes('--types')) {
  const tsc = `${root}/node_modules/typescript/bin/tsc`
  const args = [
    '--noEmit',
    'false',
    '--emitDeclarationOnly',
    '--declaration',
    '--outDir',
    'dist/types',
    '--rootDir',
    'src',
  ]
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', ...args], { cwd: root, stdio: 'inherit' })
}
