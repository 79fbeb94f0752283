/** `taploom up` and those who talk to it. Memory ports need no rights, so this runs for everybody. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Running, taploom } from '../support/cli.ts'

const config = (ports: string) => `switches: { lan: { ports: { ${ports} } } }`
const TWO = config('a: { memory: {} }, b: { memory: {} }')
const THREE = config('a: { memory: {} }, b: { memory: {} }, c: { memory: {} }')
const BAD = config('a: { memory: {}, mtu: 67 }')

let directory: string
let file: string
let socket: string
const started: Running[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tl-daemon-'))
  file = join(directory, 'lab.yaml')
  socket = join(directory, 'run', 'control.sock')
  writeFileSync(file, TWO)
})
afterEach(async () => {
  for (const daemon of started.splice(0)) await daemon.kill()
  rmSync(directory, { recursive: true, force: true })
})

function start(): Running {
  const daemon = new Running('up', file, '--socket', socket, '--log-format', 'json')
  started.push(daemon)
  return daemon
}
async function ready(): Promise<Running> {
  const daemon = start()
  await daemon.says('ready')
  return daemon
}
const ask = (...words: string[]) => taploom(...words, '--socket', socket)
const portNames = async () =>
  JSON.parse((await ask('show', 'ports', '--json')).stdout).map((p: { name: string }) => p.name)

describe('up', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('says ready once, and ends cleanly on %s', async (signal) => {
    const daemon = await ready()
    expect(statSync(socket).mode & 0o777).toBe(0o660)
    expect(await daemon.end(signal)).toBe(0)
    expect(daemon.stdout).toBe(`taploom is ready: 1 switch, 2 ports, control socket ${socket}\n`)
    expect(readdirSync(directory)).toEqual(['lab.yaml'])
    for (const line of daemon.stderr.trim().split('\n'))
      expect(JSON.parse(line)).toMatchObject({ level: 'info' })
  })

  it('refuses a bad configuration with exit code 2 and leaves nothing', async () => {
    writeFileSync(file, BAD)
    const daemon = start()
    expect(await daemon.exit).toBe(2)
    expect(daemon.stdout).toBe('')
    expect(daemon.stderr).toContain('switches.lan.ports.a.mtu: found 67')
    expect(readdirSync(directory)).toEqual(['lab.yaml'])
  })

  it('leaves nothing when the machine is not as it needs it', async () => {
    writeFileSync(file, config('a: { packet: { name: tl-not-there } }'))
    const daemon = start()
    expect(await daemon.exit).not.toBe(0)
    expect(readdirSync(directory)).toEqual(['lab.yaml'])
  })

  it('runs once per socket, and the second does the first no harm', async () => {
    const first = await ready()
    const second = start()
    expect(await second.exit).toBe(1)
    expect(second.stderr).toBe(`taploom: another taploom is running on ${socket} (pid ${first.child.pid})\n`)
    expect(await portNames()).toEqual(['a', 'b'])
    expect(await first.end()).toBe(0)
  })

  it('takes over the socket of one that was killed', async () => {
    await (await ready()).end('SIGKILL')
    expect(existsSync(socket)).toBe(true)
    const daemon = await ready()
    expect(await portNames()).toEqual(['a', 'b'])
    expect(await daemon.end()).toBe(0)
    expect(daemon.stderr).not.toContain('warn')
  })

  it('ends at once on a second signal, or cleanly when it was quick enough', async () => {
    const daemon = await ready()
    daemon.child.kill('SIGINT')
    const code = await daemon.end('SIGTERM')
    expect([0, 1]).toContain(code)
    expect(existsSync(socket)).toBe(false)
  })

  it('ends cleanly when the signal comes while it starts', async () => {
    const daemon = start()
    while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 2))
    expect(await daemon.end()).toBe(0)
    expect(readdirSync(directory)).toEqual(['lab.yaml'])
  })
})

describe('show', () => {
  let place: string
  let daemon: Running
  const look = (...words: string[]) => taploom(...words, '--socket', join(place, 'control.sock'))

  beforeAll(async () => {
    place = mkdtempSync(join(tmpdir(), 'tl-show-'))
    writeFileSync(join(place, 'lab.yaml'), TWO)
    daemon = new Running('up', join(place, 'lab.yaml'), '--socket', join(place, 'control.sock'))
    await daemon.says('ready')
  })
  afterAll(async () => {
    await daemon.kill()
    rmSync(place, { recursive: true, force: true })
  })

  it.each(['ports', 'fdb', 'vlans', 'counters', 'drops'])('%s: a table, or a JSON list', async (what) => {
    const table = await look('show', what)
    expect(table.code).toBe(0)
    expect(table.stdout).not.toContain('\x1b')
    const document = await look('show', what, '--json')
    expect(Array.isArray(JSON.parse(document.stdout))).toBe(true)
  })

  it('status: an object', async () => {
    expect((await look('show', 'status')).stdout).toContain(`pid ${daemon.child.pid}`)
    const status = JSON.parse((await look('show', 'status', '--json')).stdout)
    expect(status).toMatchObject({ pid: daemon.child.pid, configFile: join(place, 'lab.yaml') })
  })

  it('drops --all: every reason', async () => {
    expect(JSON.parse((await look('show', 'drops', '--json')).stdout)).toEqual([])
    expect((await look('show', 'drops', '--all')).stdout).toContain('storm-broadcast')
  })

  it('a port that does not exist is bad usage', async () => {
    const { code, stderr } = await look('show', 'fdb', '--port', 'x')
    expect(stderr).toContain('no port x; did you mean a?')
    expect(code).toBe(2)
  })

  it('flush fdb tells how many', async () => {
    expect((await look('flush', 'fdb')).stdout).toBe('0 addresses forgotten\n')
  })
})

describe('reload', () => {
  it('applies the difference, one line per change', async () => {
    await ready()
    expect((await ask('reload')).stdout).toBe('nothing changed\n')
    writeFileSync(file, THREE)
    const { code, stdout } = await ask('reload')
    expect(code).toBe(0)
    expect(stdout.trim().split('\n').length).toBe(1)
    expect(stdout).toContain('lan.c')
    expect(await portNames()).toEqual(['a', 'b', 'c'])
  })

  it('comes by SIGHUP, too', async () => {
    const daemon = await ready()
    writeFileSync(file, THREE)
    daemon.child.kill('SIGHUP')
    await expect.poll(portNames, { timeout: 10_000 }).toEqual(['a', 'b', 'c'])
    expect(daemon.stderr).toContain('"msg":"reloaded"')
  })

  it('refuses a bad file and goes on as before', async () => {
    const daemon = await ready()
    writeFileSync(file, BAD)
    const { code, stderr } = await ask('reload')
    expect(stderr).toContain('switches.lan.ports.a.mtu: found 67')
    expect(code).toBe(2)
    daemon.child.kill('SIGHUP')
    await expect.poll(() => daemon.stderr, { timeout: 10_000 }).toContain('reload refused')
    expect(await portNames()).toEqual(['a', 'b'])
    expect(await daemon.end()).toBe(0)
  })

  it('takes another file, from where the caller stands', async () => {
    await ready()
    const other = join(directory, 'other.yaml')
    writeFileSync(other, THREE)
    expect((await ask('reload', '--file', other)).code).toBe(0)
    expect(await portNames()).toEqual(['a', 'b', 'c'])
  })
})

describe('capture', () => {
  const magic = (bytes: Buffer) => bytes.readUInt32LE(0)

  it('writes a file that starts like pcapng, and tells how much', async () => {
    await ready()
    const path = join(directory, 'a.pcapng')
    const { code, stdout, stderr } = await ask('capture', 'a', '-w', path, '--duration', '0.2')
    expect(stderr).toBe('0 packets captured, 0 lost\n')
    expect(stdout).toBe('')
    expect(code).toBe(0)
    expect(magic(readFileSync(path))).toBe(0x0a0d0d0a)
  })

  it('ends on Ctrl-C with a whole file', async () => {
    await ready()
    const path = join(directory, 'a.pcapng')
    const capture = new Running('capture', 'lan.a', '-w', path, '--socket', socket)
    started.push(capture)
    await expect.poll(() => existsSync(path) && statSync(path).size, { timeout: 10_000 }).toBeGreaterThan(0)
    expect(await capture.end('SIGINT')).toBe(0)
    expect(capture.stderr).toBe('0 packets captured, 0 lost\n')
  })

  it('fails when the daemon is killed', async () => {
    const daemon = await ready()
    const path = join(directory, 'a.pcapng')
    const capture = new Running('capture', 'a', '-w', path, '--socket', socket)
    started.push(capture)
    await expect.poll(() => existsSync(path) && statSync(path).size, { timeout: 10_000 }).toBeGreaterThan(0)
    await daemon.end('SIGKILL')
    expect(await capture.exit).toBe(1)
    expect(capture.stderr).toContain('the daemon ended during the capture')
  })

  it('ends well when the daemon ends well', async () => {
    const daemon = await ready()
    const path = join(directory, 'a.pcapng')
    const capture = new Running('capture', 'a', '-w', path, '--socket', socket)
    started.push(capture)
    await expect.poll(() => existsSync(path) && statSync(path).size, { timeout: 10_000 }).toBeGreaterThan(0)
    expect(await daemon.end()).toBe(0)
    expect(await capture.exit).toBe(0)
  })

  it('cannot write where the caller cannot', async () => {
    await ready()
    const { code, stderr } = await ask('capture', 'a', '-w', join(directory, 'no', 'such', 'dir'))
    expect(stderr).toContain('cannot write the capture')
    expect(code).toBe(1)
  })
})
