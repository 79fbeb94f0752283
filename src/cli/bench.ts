/** `taploom bench`: the benchmarks of a checkout (bench/), which are not part of the package. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { packageRoot } from '../root.ts'

const NOTES = `
Arguments go to bench/run.mjs as they are; "taploom bench -- --help" lists them.`

export function bench(program: Command): void {
  program
    .command('bench')
    .description('run the benchmarks (from a checkout)')
    .argument('[args...]', 'for bench/run.mjs')
    .allowUnknownOption()
    .addHelpText('after', NOTES)
    .action(async (args: string[]) => {
      const script = join(packageRoot, 'bench', 'run.mjs')
      if (!existsSync(script)) {
        throw new Error(
          'the benchmarks are not part of the installed package: run "npm run bench" in a checkout',
        )
      }
      process.exitCode = await run(script, args)
    })
}

/** Its exit code. Ctrl-C reaches the child by itself: it ends, then we do. */
function run(script: string, args: string[]): Promise<number> {
  const child = spawn(process.execPath, [script, ...args], { stdio: 'inherit' })
  const wait = (): void => {}
  process.on('SIGINT', wait)
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
  })
}
