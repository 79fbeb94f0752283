/** The examples are the manual: each one is valid, and together they show every key. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../../src/config/load.ts'
import { fileSchema } from '../../src/config/schema.ts'

const directory = fileURLToPath(new URL('../../config/', import.meta.url))
const files = readdirSync(directory).filter((f) => f.endsWith('.yaml'))

interface JsonSchema {
  properties?: Record<string, JsonSchema>
  additionalProperties?: JsonSchema | boolean
  items?: JsonSchema
  description?: string
}

/** 'switches.*.ports.*.tap.name' and so on, every key the schema has. */
function keysOf(schema: JsonSchema, path = ''): string[] {
  const inner = Object.entries(schema.properties ?? {}).flatMap(([key, s]) => [
    `${path}${key}`,
    ...keysOf(s, `${path}${key}.`),
  ])
  const named =
    typeof schema.additionalProperties === 'object' ? keysOf(schema.additionalProperties, `${path}*.`) : []
  return [...inner, ...named, ...(schema.items ? keysOf(schema.items, path) : [])]
}

/** The same of a value. */
function shown(value: unknown, schema: JsonSchema, path = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((v) => shown(v, schema.items ?? {}, path))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, v]) => {
    const own = schema.properties?.[key]
    const name = own ? `${path}${key}` : `${path}*`
    const inner = own ?? (typeof schema.additionalProperties === 'object' ? schema.additionalProperties : {})
    return [name, ...shown(v, inner, `${name}.`)]
  })
}

const schema = z.toJSONSchema(fileSchema, { io: 'input' }) as JsonSchema
/** Shown for another device, or for a port, where they mean the same. */
const twin = (key: string) =>
  key
    .replace(/^routers\.\*\.interfaces\.\*\.(tap|tun|packet|memory|fault)\b/, 'switches.*.ports.*.$1')
    .replace('.*.tun.', '.*.tap.')
    .replace('.*.host.', '.*.tap.')
    .replace('.fault.rx.', '.fault.tx.')
const all = new Set(
  files
    .flatMap((f) => shown(parse(readFileSync(directory + f, 'utf8')), schema))
    .flatMap((k) => [k, twin(k)]),
)

describe('config/', () => {
  it.each(files)('%s is valid', (file) => {
    expect(Object.keys(loadConfig(directory + file).switches).length).toBeGreaterThan(0)
  })

  it('shows every key', () => {
    const missing = keysOf(schema).filter(
      (key) => !all.has(key) && !all.has(twin(key)) && !key.endsWith('tun.mac'),
    )
    expect(missing).toEqual([])
  })

  it('the rules of nat.yaml come with it', () => {
    const { rules, nat } = loadConfig(`${directory}nat.yaml`).routers.edge
    expect(rules.map((r) => [r.file.replace(directory, ''), r.family])).toEqual([
      ['edge.rules', 4],
      ['edge6.rules', 6],
    ])
    expect(rules[0].text).toBe(readFileSync(`${directory}edge.rules`, 'utf8'))
    expect(nat.map((n) => n.type)).toEqual([
      'masquerade',
      'masquerade',
      'publish',
      'publish',
      'publish',
      'masquerade',
    ])
  })

  it('the three namespaces of the demo are in one subnet of one switch', () => {
    const { namespaces, switches } = loadConfig(`${directory}lab.yaml`)
    expect(namespaces).toEqual(['lab-web', 'lab-db', 'lab-client'])
    const devices = Object.values(switches.lan.ports).map((p) => p.device)
    expect(devices).toMatchObject([
      { netns: 'lab-web', addresses: ['10.10.0.2/24', 'fd00:10::2/64'] },
      { netns: 'lab-db', addresses: ['10.10.0.3/24', 'fd00:10::3/64'] },
      { netns: 'lab-client', addresses: ['10.10.0.4/24', 'fd00:10::4/64'] },
    ])
  })
})
