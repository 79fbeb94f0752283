/** NFLOG files: what is there is gone on with, bounded, and what cannot be written is said once. */
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { NflogFile } from '../../src/control/router/nflog-file.ts'
import { RuleLog } from '../../src/control/router/rule-log.ts'
import { parseRules } from '../../src/filter/parse.ts'
import { LogRecord } from '../../src/filter/program/report.ts'
import { Hook } from '../../src/packet/hooks.ts'
import { RingWriter, ringMemory } from '../../src/packet/ring.ts'

const folder = mkdtempSync(join(tmpdir(), 'tl-nflog-'))
afterAll(() => rmSync(folder, { recursive: true }))

const nameOf = (index: number): string => (index < 0 ? '' : `if${index}`)

function words(more: Partial<Record<LogRecord, number>> = {}): Int32Array {
  const all = new Int32Array(LogRecord.Words)
  const base = {
    [LogRecord.Hook]: Hook.Forward | (4 << 8),
    [LogRecord.InIf]: 0,
    [LogRecord.OutIf]: 1,
    [LogRecord.L3]: 14,
    [LogRecord.Length]: 86,
    [LogRecord.Captured]: 100,
    [LogRecord.Seconds]: 1_700_000_000,
  }
  for (const [at, value] of Object.entries({ ...base, ...more })) all[Number(at)] = value
  return all
}

/** Types of the blocks of a file, which must be whole. */
function blocks(path: string): number[] {
  const bytes = readFileSync(path)
  const types: number[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at + 4)
    expect(bytes.readUInt32LE(at + length - 4)).toBe(length)
    types.push(bytes.readUInt32LE(at))
    at += length
  }
  return types
}
const [SHB, IDB, EPB] = [0x0a0d0d0a, 1, 6]

test('an interface each, a new section for who comes later', () => {
  const path = join(folder, 'a.pcapng')
  const bytes = new Uint8Array(100)
  const first = new NflogFile(path, 1 << 20)
  first.put({ words: words(), bytes }, nameOf, 'x')
  first.put({ words: words({ [LogRecord.Hook]: Hook.Postrouting | (4 << 8) }), bytes }, nameOf, '')
  first.put({ words: words(), bytes }, nameOf, '')
  expect(first.flush()).toBe(null)
  first.close()
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(blocks(path)).toEqual([SHB, IDB, EPB, IDB, EPB, EPB])
  const second = new NflogFile(path, 1 << 20)
  second.close()
  expect(blocks(path).length).toBe(6)
  const third = new NflogFile(path, 1 << 20)
  third.put({ words: words(), bytes }, nameOf, '')
  third.close()
  expect(blocks(path)).toEqual([SHB, IDB, EPB, IDB, EPB, EPB, SHB, IDB, EPB])
})

test('it grows no further than it may, and says so once', () => {
  const path = join(folder, 'b.pcapng')
  const file = new NflogFile(path, 4096)
  const said: (string | null)[] = []
  for (let i = 0; i < 100; i++) {
    file.put({ words: words(), bytes: new Uint8Array(100) }, nameOf, '')
    said.push(file.flush())
  }
  file.close()
  expect(statSync(path).size).toBeGreaterThan(3500)
  expect(statSync(path).size).toBeLessThan(4096 + 200)
  expect(said.filter((s) => s !== null)).toEqual([`${path} has its 4096 bytes: later packets are not kept`])
  blocks(path)
})

test('what is no pcapng file is left alone', () => {
  const path = join(folder, 'full')
  symlinkSync('/dev/full', path)
  // What is no plain file is refused at once.
  expect(() => new NflogFile(path, 4096)).toThrow('is no plain file')
  expect(() => new NflogFile(join(folder, 'no', 'such'), 4096)).toThrow('cannot write the NFLOG file: ENOENT')
  writeFileSync(join(folder, 'text'), 'abc')
  expect(() => new NflogFile(join(folder, 'text'), 4096)).toThrow('is there and no pcapng file')
})

test('records of the rules before a reload mean those; losses are told', () => {
  const memory = { log: ringMemory(1 << 16), nflog: ringMemory(1 << 16), lost: new SharedArrayBuffer(8) }
  let told: (text: string) => void = () => {}
  const log = new RuleLog(memory, ({ text }) => told(text))
  const set = (prefix: string) =>
    parseRules(`*filter\n-A FORWARD -j NFLOG --nflog-prefix "${prefix}"\nCOMMIT\n`, { family: 4 })
  log.use(1, [set('old: ')], ['a', 'b'])
  log.use(2, [set('new: ')], ['c', 'd'])
  const ring = new RingWriter(memory.nflog)
  for (const generation of [1, 2, 2]) {
    const at = ring.reserve(LogRecord.Words * 4 + 40)
    // Counter 1: behind INPUT's policy.
    ring.words.set(
      words({ [LogRecord.Generation]: generation, [LogRecord.Rule]: 1, [LogRecord.Captured]: 40 }),
      at >> 2,
    )
    ring.bytes[at + LogRecord.Words * 4 + 14] = 0x45
    ring.commit()
  }
  new Float64Array(memory.lost)[0] = 7
  const said: string[] = []
  told = (text) => said.push(text.split(' ').slice(0, 3).join(' '))
  log.read()
  expect(said).toEqual(['old: IN=a OUT=b', 'new: IN=c OUT=d', 'new: IN=c OUT=d', '7 packets were'])
  told = (text) => said.push(text)
  log.read()
  expect(said.length).toBe(4)
})
