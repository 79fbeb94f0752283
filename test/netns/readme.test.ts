/** What the README shows is so: its programs run, its configuration is valid, its tables name what there is. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { parseConfig } from '../../src/config/load.ts'
import { fileSchema } from '../../src/config/schema.ts'
import { ended, launch, taploom } from '../support/cli.ts'
import { Place } from '../support/daemon.ts'
import { Lab, lacking } from '../support/lab.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const readme = readFileSync(`${root}README.md`, 'utf8')
/** The fenced blocks of a language. */
const blocks = (language: string): string[] =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map((m) => m[1])
const place = new Place()
afterAll(() => place.close())

describe('the tour', () => {
  const [yaml] = blocks('yaml')

  it('is a valid configuration', () => {
    expect(Object.keys(parseConfig(yaml, 'tour.yaml').switches.lan.ports)).toEqual(['red', 'blue'])
  })

  it('shows the message as it is', () => {
    const wrong = `${yaml}        vlan: { access: 4095 }\n`
    const said = /^ +(tour\.yaml:.*)$/m.exec(readme)?.[1]
    expect(() => parseConfig(wrong, 'tour.yaml')).toThrow(said)
  })
})

describe('the tables', () => {
  it('name every key of a configuration', () => {
    const names = new Set<string>()
    const collect = (schema: unknown): void => {
      if (typeof schema !== 'object' || schema === null) return
      const { properties, ...rest } = schema as { properties?: Record<string, unknown> }
      for (const [name, inner] of Object.entries(properties ?? {})) {
        names.add(name)
        collect(inner)
      }
      for (const inner of Object.values(rest)) collect(inner)
    }
    const json = z.toJSONSchema(fileSchema, { io: 'input' }) as { properties: Record<string, unknown> }
    collect(json.properties.switches)
    collect(json.properties.vteps)
    const shown = readme.slice(readme.indexOf('## Configuration'), readme.indexOf('## As a library'))
    expect([...names].filter((n) => !new RegExp(`\\b${n}\\b`).test(shown))).toEqual([])
  })

  it('name every command', async () => {
    const { stdout } = await taploom('--help')
    const help = stdout.slice(stdout.indexOf('Commands:'), stdout.indexOf('Examples:'))
    const commands = [...help.matchAll(/^ {2}([a-z]+)/gm)].map((m) => m[1]).filter((c) => c !== 'help')
    expect(commands.length).toBeGreaterThan(5)
    expect(commands.filter((c) => !readme.includes(`| \`${c}`))).toEqual([])
  })

  it('name every npm script', () => {
    const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
    const shown = readme.slice(readme.indexOf('## npm scripts'), readme.indexOf('## Security'))
    expect(Object.keys(scripts).filter((s) => !new RegExp(`\\b${s}\\b`).test(shown))).toEqual([])
  })

  it('links lead somewhere', () => {
    for (const file of ['README.md', 'src/README.md', 'bench/README.md', 'config/README.md']) {
      const from = new URL(file, `file://${root}`)
      const text = readFileSync(from, 'utf8')
      for (const [, to] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g))
        expect(readFileSync(new URL(to, from)).length, `${file}: ${to}`).toBeGreaterThan(0)
    }
  })
})

describe.skipIf(lacking)(`the programs${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  const lab = new Lab()
  let machine: string
  beforeAll(() => {
    machine = lab.add('machine')
  })
  afterEach(() => {
    // What a program that failed has left.
    for (const name of ['red', 'blue']) lab.ok(machine, 'ip', 'netns', 'del', `${machine}-${name}`)
  })
  afterAll(() => lab.close())

  it.each(blocks('js').map((text, i) => [i + 1, text] as const))(
    '%i run and end by themselves',
    { timeout: 30_000 },
    async (i, text) => {
      const own = text
        .replaceAll("'taploom'", `'file://${root}dist/index.js'`)
        .replaceAll(/'(red|blue)'/g, `'${machine}-$1'`)
      const file = place.write(own, `program${i}.mjs`)
      // In a namespace of its own: its devices are nobody else's.
      const { code, stdout, stderr } = await ended(
        launch('nsenter', [`--net=${lab.path(machine)}`, process.execPath, file]),
      )
      expect(stderr).toBe('')
      expect(code).toBe(0)
      const said = [
        "mac: '02:00:00:00:00:01'",
        "[ 'port lan.b: added' ]\n[ 'a', 'b' ]",
        'queued: 5, answered: 5',
        '',
      ]
      expect(stdout).toContain(said[i - 1])
    },
  )
})
