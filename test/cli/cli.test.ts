/** The command as its users run it: words, exit codes, and what it says when something is wrong. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { version } from '../../src/root.ts'
import { taploom } from '../support/cli.ts'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tl-cli-'))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

function file(name: string, text: string): string {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

const MEMORY = 'switches: { lan: { ports: { a: { memory: {} }, b: { memory: {} } } } }'

describe('help', () => {
  it('names every command and gives examples', async () => {
    const { code, stdout } = await taploom('--help')
    expect(code).toBe(0)
    for (const word of ['up', 'check', 'reload', 'show', 'capture', 'flush', 'demo', 'bench', 'Examples:']) {
      expect(stdout).toContain(word)
    }
  })

  it.each([
    'up',
    'check',
    'reload',
    'show',
    'show fdb',
    'capture',
    'conntrack delete',
    'flush fdb',
    'flush conntrack',
    'demo',
  ])('of %s', async (command) => {
    const { code, stdout } = await taploom(...command.split(' '), '--help')
    expect(code).toBe(0)
    expect(stdout).toContain(`Usage: taploom ${command}`)
    expect(stdout).toContain('--socket')
  })

  it('tells the version', async () => {
    expect(await taploom('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })
})

describe('bad usage is exit code 2', () => {
  it.each([
    ['shwo', 'Did you mean show?'],
    ['show prots', 'Did you mean ports?'],
    ['show ports --jsno', 'Did you mean --json?'],
    ['up', "missing required argument 'file'"],
    ['up a.yaml --log-level loud', 'Allowed choices are trace'],
    ['capture web', "required option '-w, --write <file>' not specified"],
    ['capture web -w x --count 0', 'Expected a whole number from 1.'],
    ['capture web -w x --duration -3', 'Expected seconds, more than 0.'],
    ['show fdb --vlan 4095', 'Expected a whole number from 0 to 4094.'],
    ['conntrack delete', 'use "taploom flush conntrack" for all of them'],
    ['conntrack delete --prot tcp', 'Did you mean --proto?'],
    ['check a.yaml b.yaml', 'too many arguments'],
  ])('%s', async (words, says) => {
    const { code, stdout, stderr } = await taploom(...words.split(' '))
    expect(stderr).toContain(says)
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })

  it('and so is no command at all', async () => {
    const { code, stderr } = await taploom()
    expect(code).toBe(2)
    expect(stderr).toContain('Usage: taploom')
  })
})

describe('check', () => {
  it('says that a file is fine, and how large', async () => {
    const path = file('good.yaml', MEMORY)
    expect(await taploom('check', path)).toEqual({
      code: 0,
      stdout: `${path}: ok (1 switch, 2 ports)\n`,
      stderr: '',
    })
  })

  it('names file, line, key, what was found and what was expected; exit code 2', async () => {
    const path = file(
      'bad.yaml',
      'switches:\n  lan:\n    ports:\n      a: { memory: {}, vlan: { access: 4095 } }\n',
    )
    const { code, stdout, stderr } = await taploom('check', path)
    expect(stderr).toContain(`${path}:4:`)
    expect(stderr).toContain('switches.lan.ports.a.vlan.access: found 4095, expected')
    expect(stderr).not.toContain('    at ')
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })

  it('looks at the machine, unless offline', async () => {
    const text = 'switches: { lan: { ports: { a: { packet: { name: tl-not-there } } } } }'
    const path = file('system.yaml', text)
    const { code, stderr } = await taploom('check', path)
    expect(stderr).toContain("found 'tl-not-there'")
    expect(code).toBe(2)
    expect((await taploom('check', '--offline', path)).code).toBe(0)
  })

  it('says when there is no such file', async () => {
    const { code, stderr } = await taploom('check', join(directory, 'none.yaml'))
    expect(stderr).toContain('no such file')
    expect(code).toBe(2)
  })
})

describe('without a daemon', () => {
  it.each(['show ports', 'show status --json', 'reload', 'flush fdb', 'capture web -w FILE'])(
    '%s fails and says what to do',
    async (words) => {
      const socket = join(directory, 'none.sock')
      const argv = words.replace('FILE', join(directory, 'x.pcapng')).split(' ')
      const { code, stdout, stderr } = await taploom(...argv, '--socket', socket)
      expect(stderr).toBe(
        `taploom: no taploom daemon answers on ${socket}: start one with "taploom up FILE"\n`,
      )
      expect(stdout).toBe('')
      expect(code).toBe(1)
    },
  )

  it('the socket comes from the environment, too', async () => {
    const socket = join(directory, 'env.sock')
    const { stderr } = await taploom({ TAPLOOM_SOCKET: socket }, 'show', 'ports')
    expect(stderr).toContain(socket)
  })

  it('--debug shows where an error came from', async () => {
    const socket = join(directory, 'none.sock')
    expect((await taploom('--debug', '--socket', socket, 'show', 'ports')).stderr).toContain('    at ')
    expect((await taploom({ TAPLOOM_DEBUG: '1' }, '--socket', socket, 'show', 'ports')).stderr).toContain(
      '    at ',
    )
  })
})
