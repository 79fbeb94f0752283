/** DESIGN.md rule 5: nothing is allocated per packet. Shown by what the collector had to do: nothing. */
import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, expect, test } from 'vitest'
// @ts-expect-error: a plain script
import { bundle, forget } from '../fuzz/build.mjs'

let main = ''
beforeAll(async () => {
  main = await bundle('test/engine/no-gc.main.ts', 'no-gc')
})
afterAll(() => forget(main))

test('a million packets cause no garbage collection and leave no memory behind', () => {
  const flags = ['--expose-gc', '--max-semi-space-size=1', '--min-semi-space-size=1']
  const out = execFileSync(process.execPath, [...flags, main], { encoding: 'utf8', timeout: 60_000 })
  const result = JSON.parse(out)
  expect(result.packets).toBeGreaterThanOrEqual(2_000_000)
  expect(result.tunnel.rx).toBeGreaterThan(100_000)
  expect(result.tunnel.tx).toBeGreaterThan(100_000)
  expect(result.tunnel.made).toBeGreaterThan(10_000)
  expect(result.collections).toEqual([])
  // One semi-space is 1 MiB: less than a byte a packet: numbers boxed once a breath, and the optimiser's own work is in it.
  expect(result.heapGrown).toBeLessThan(768 * 1024)
  expect(result.residentGrown).toBeLessThan(16 * 1024 * 1024)
}, 90_000)
