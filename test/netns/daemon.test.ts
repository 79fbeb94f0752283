/** The daemon with real devices: how it ends, what it survives, what it leaves. */
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CounterRow } from '../../src/control/show/model.ts'
import { CLI, ended, launch, type Running } from '../support/cli.ts'
import { Place } from '../support/daemon.ts'
import { has, Lab, lacking, PACED } from '../support/lab.ts'
import { begun, tshark } from '../support/wire.ts'

let lab: Lab
let place: Place
/** Namespaces that the daemon makes. */
let made: [string, string]

beforeEach(() => {
  lab = new Lab()
  place = new Place()
  const own = lab.add('own')
  made = [`${own}-a`, `${own}-b`]
})
afterEach(async () => {
  await place.close()
  for (const name of made) if (there(name)) execFileSync('ip', ['netns', 'del', name])
  lab.close()
})

const there = (namespace: string): boolean => existsSync(`/run/netns/${namespace}`)
const tap = (netns: string, host: number, more = ''): string =>
  `{ tap: { name: eth0, netns: ${netns}, addresses: [10.8.0.${host}/24], mac: '02:00:00:00:08:0${host}'${more} } }`
/** A switch with a port for each: { a: tap(...) }. */
const lan = (ports: Record<string, string>, namespaces: string[] = []): string =>
  JSON.stringify({ namespaces }).slice(0, -1) +
  `, switches: { lan: { ports: { ${Object.entries(ports)
    .map(([name, port]) => `${name}: ${port}`)
    .join(', ')} } } } }`
/** Two hosts in namespaces that the daemon makes. */
const pair = (): string => lan({ a: tap(made[0], 1), b: tap(made[1], 2) }, made)
const devicesIn = (namespace: string): string[] =>
  JSON.parse(execFileSync('ip', ['-json', '-n', namespace, 'link'], { encoding: 'utf8' })).map(
    (l: { ifname: string }) => l.ifname,
  )
/** Log lines with this word. */
const lines = (daemon: Running, word: string): string[] =>
  daemon.stderr.split('\n').filter((line) => line.includes(word))
const tools = has('tshark')

describe.skipIf(lacking)(`the daemon${lacking ? ` (skipped: ${lacking})` : ''}`, { timeout: 60_000 }, () => {
  describe('ends', () => {
    describe('with a hundred namespaces to make and remove', () => {
      const names = Array.from({ length: 100 }, (_, i) => `tl-end-${process.pid}-${i}`)
      const left = (): string[] => names.filter(there)
      const file = (): string =>
        place.write(
          lan(
            Object.fromEntries(names.map((n, i) => [`p${i}`, `{ tap: { name: e0, netns: ${n} } }`])),
            names,
          ),
        )
      const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
      afterEach(() => {
        for (const name of left()) execFileSync('ip', ['netns', 'del', name])
      })

      it('a second signal while it cleans up does not keep it from that', async () => {
        const daemon = place.start('up', file(), '--log-format', 'json')
        while (left().length === 0) await pause(1)
        daemon.child.kill('SIGINT')
        await pause(50)
        expect(await daemon.end('SIGTERM')).toBe(0)
        expect(left()).toEqual([])
        expect(existsSync(place.socket)).toBe(false)
        expect(lines(daemon, 'please wait').length).toBeLessThanOrEqual(1)
      })

      it('a third one ends it at once, and it tells what is left', async () => {
        const daemon = await place.up(file())
        for (const signal of ['SIGINT', 'SIGTERM'] as const) {
          daemon.child.kill(signal)
          await pause(40)
        }
        expect(await daemon.end('SIGINT')).toBe(1)
        expect(lines(daemon, 'cleaning up, please wait; a third signal ends at once').length).toBe(1)
        const [told] = lines(daemon, 'ending at once')
        expect(left().length).toBeGreaterThan(0)
        for (const name of left()) expect(told).toContain(`namespace ${name}`)
      })
    })

    it.each(['SIGINT', 'SIGTERM'] as const)('on %s with nothing left of its own', async (signal) => {
      const [c] = lab.spaces(1)
      const daemon = await place.up(
        place.write(lan({ a: tap(made[0], 1), b: tap(made[1], 2), c: tap(c, 3) }, [...made, c])),
      )
      expect(statSync(place.socket).mode & 0o777).toBe(0o660)
      expect(await lab.ping(made[0], '10.8.0.3', 2)).toBe(2)
      expect(await daemon.end(signal)).toBe(0)
      expect(daemon.stdout.match(/ready/g)).toEqual(['ready'])
      expect(made.filter(there)).toEqual([])
      // That one was there before.
      expect(devicesIn(c)).toEqual(['lo'])
      expect(readdirSync(place.directory)).toEqual(['fabric.yaml'])
    })

    it('at once on a second signal', async () => {
      const daemon = await place.up(place.write(pair()))
      daemon.child.kill('SIGINT')
      expect([0, 1]).toContain(await daemon.end('SIGINT'))
      for (const name of made.filter(there)) expect(devicesIn(name)).toEqual(['lo'])
    })

    it('in the middle of its start, and undoes what it did', async () => {
      const ports = Array.from({ length: 24 }, (_, i) => [
        `p${i}`,
        `{ tap: { name: t${i}, netns: ${made[0]}, addresses: [10.9.${i}.1/24] } }`,
      ])
      const daemon = place.start('up', place.write(lan(Object.fromEntries(ports), made)))
      await expect.poll(() => there(made[0]), { timeout: 10_000, interval: 5 }).toBe(true)
      expect(await daemon.end('SIGINT')).toBe(0)
      expect(daemon.stdout).toBe('')
      expect(made.filter(there)).toEqual([])
      expect(existsSync(place.socket)).toBe(false)
    })

    it('by kill -9: its devices go with it, and the next one takes up the rest', async () => {
      const file = place.write(pair())
      await (await place.up(file)).end('SIGKILL')
      expect(made.map(there)).toEqual([true, true])
      for (const name of made) await expect.poll(() => devicesIn(name)).toEqual(['lo'])
      const next = await place.up(file)
      expect(await lab.ping(made[0], '10.8.0.2', 2)).toBe(2)
      expect(await next.end()).toBe(0)
      // It found them, so it leaves them.
      expect(made.map(there)).toEqual([true, true])
    })
  })

  describe('is not alone', () => {
    it('a second one on the same socket, or for the same devices, does no harm', async () => {
      const file = place.write(pair())
      const first = await place.up(file)
      const second = await place.ask('up', file)
      expect(second.stderr).toBe(
        `taploom: another taploom is running on ${place.socket} (pid ${first.child.pid})\n`,
      )
      expect(second.code).toBe(1)
      const third = await ended(
        launch(process.execPath, [CLI, 'up', file, '--socket', place.path('other.sock')]),
      )
      expect(third.stderr).toContain(`found 'eth0' in namespace ${made[0]}, expected a name that is free`)
      expect(third.code).toBe(2)
      expect(existsSync(place.path('other.sock'))).toBe(false)
      expect(await lab.ping(made[0], '10.8.0.2', 2)).toBe(2)
    })

    it('not with a VTEP that cannot be, by name and place; nothing is made', async () => {
      const taken = createSocket('udp4')
      await new Promise<void>((resolve) => taken.bind(0, '127.0.0.1', resolve))
      const vtep = (local: string, port: number) =>
        place.write(`${pair().slice(0, -1)},\n  vteps: { u: { local: ${local}, port: ${port} } } }`)
      const elsewhere = await place.ask('up', vtep('203.0.113.77', 4789))
      expect(elsewhere.code).toBe(2)
      expect(elsewhere.stderr).toContain(
        ":2:24  vteps.u.local: found '203.0.113.77', expected an address of a device in the own namespace",
      )
      const { port } = taken.address()
      const second = await place.ask('up', vtep('127.0.0.1', port))
      expect(second.code).toBe(2)
      expect(second.stderr).toContain(
        `:2:41  vteps.u.port: found UDP port ${port} of 127.0.0.1 in the own namespace, which is taken`,
      )
      taken.close()
      expect(made.filter(there)).toEqual([])
    })
  })

  describe('without rights', () => {
    const refused = async (...under: string[]) => {
      const daemon = place.start({ under }, 'up', place.write(pair()))
      expect(await daemon.exit).toBe(1)
      expect(daemon.stdout).toBe('')
      for (const word of ['CAP_NET_ADMIN', 'CAP_SYS_ADMIN', 'sudo', 'AmbientCapabilities='])
        expect(daemon.stderr).toContain(word)
      expect(daemon.stderr).not.toContain('    at ')
      expect(made.filter(there)).toEqual([])
      expect(readdirSync(place.directory)).toEqual(['fabric.yaml'])
    }

    it('says what is missing: root without capabilities', () => refused('setpriv', '--bounding-set=-all'))

    const readable = (() => {
      try {
        execFileSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', 'test', '-r', CLI])
        accessSync(CLI, constants.R_OK)
        return true
      } catch {
        return false
      }
    })()
    it.skipIf(!readable)(
      'says what is missing: another user (needs a checkout others may read)',
      async () => {
        execFileSync('chmod', ['a+rx', place.directory])
        await refused('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups')
      },
    )
  })

  describe('reloads on SIGHUP', () => {
    it('only what changed: the others lose no packet, and a wrong file changes nothing', async () => {
      const [a, b, c] = lab.spaces(3)
      const file = place.write(lan({ a: tap(a, 1), b: tap(b, 2), c: tap(c, 3) }))
      const daemon = await place.up(file)
      expect(await lab.ping(a, '10.8.0.2', 1)).toBe(1)
      const ping = lab.start(a, 'ping', '-n', '-q', '-i', '0.005', '10.8.0.2')
      let said = ''
      ping.stdout?.on('data', (chunk) => {
        said += chunk
      })
      place.write(lan({ a: tap(a, 1), b: tap(b, 2), c: tap(c, 4) }))
      daemon.child.kill('SIGHUP')
      await expect.poll(() => lines(daemon, '"msg":"reloaded"').length, { timeout: 10_000 }).toBe(1)
      expect(lines(daemon, 'reloaded')[0]).toContain('"changes":["port lan.c: removed","port lan.c: added"]')
      expect(await lab.ping(a, '10.8.0.4', 2)).toBe(2)

      place.write(lan({ a: tap(a, 1, ', mtu: 67') }))
      daemon.child.kill('SIGHUP')
      await expect.poll(() => lines(daemon, 'reload refused').length, { timeout: 10_000 }).toBe(1)
      expect(lines(daemon, 'reload refused')[0]).toContain('mtu: found 67')
      expect(await lab.ping(a, '10.8.0.4', 2)).toBe(2)

      const gone = new Promise((resolve) => ping.once('close', resolve))
      ping.kill('SIGINT')
      await gone
      const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(said) ?? []
      // The last one may still be on its way.
      expect(Number(sent) - Number(received)).toBeLessThanOrEqual(1)
      expect(daemon.stdout.match(/ready/g)).toEqual(['ready'])
    })
  })

  describe('survives', () => {
    it('a namespace that is deleted: one line in the log, the rest goes on', async () => {
      const daemon = await place.up(place.write(pair()))
      const [c] = lab.spaces(1)
      place.write(lan({ a: tap(made[0], 1), b: tap(made[1], 2), c: tap(c, 3) }, made))
      expect((await place.ask('reload')).stdout).toBe('port lan.c: added\n')
      execFileSync('ip', ['netns', 'del', made[1]])
      await expect.poll(() => lines(daemon, 'port lan.b is down').length, { timeout: 10_000 }).toBe(1)
      expect(await lab.ping(made[0], '10.8.0.3', 2)).toBe(2)
      const port = await place.port('b')
      expect(port).toMatchObject({
        state: 'down',
        reason: `its network namespace /run/netns/${made[1]} was deleted`,
      })
      const table = (await place.ask('show', 'ports')).stdout
      expect(table).toMatch(/b +tap +down/)
      expect(table).toContain(`lan.b: ${port.reason}`)
      expect(lines(daemon, 'is down').length).toBe(1)
      expect(await daemon.end()).toBe(0)
      expect(made.filter(there)).toEqual([])
    })

    it('a device that is set down: shown, and up again by itself', async () => {
      await place.up(place.write(pair()))
      lab.run(made[1], 'ip', 'link', 'set', 'eth0', 'down')
      expect(await place.port('b')).toMatchObject({ state: 'down', reason: 'device eth0 is not set up' })
      lab.run(made[1], 'ip', 'link', 'set', 'eth0', 'up')
      expect(await place.port('b')).toMatchObject({ state: 'up', reason: null })
      expect(await lab.ping(made[0], '10.8.0.2', 5)).toBeGreaterThanOrEqual(3)
    })
  })

  describe.skipIf(!tools)(`captures${tools ? '' : ' (skipped: needs tshark)'}`, () => {
    it('both directions with nanoseconds, to a file that tshark reads', async () => {
      await place.up(place.write(pair()))
      const path = place.path('a.pcapng')
      const capture = place.start('capture', 'a', '-w', path)
      await begun(path)
      expect(await lab.ping(made[0], '10.8.0.2', 4, ...PACED)).toBe(4)
      expect(await capture.end('SIGINT')).toBe(0)
      expect(capture.stderr).toMatch(/^\d+ packets captured, 0 lost\n$/)
      const rows = tshark(path, 'frame.time_epoch', 'frame.packet_flags', 'icmp.type', 'frame.interface_name')
      const pings = rows.map((r) => r.split('\t')).filter((r) => r[2] !== '')
      // A request comes in by port a (1), its answer goes out (2).
      expect(pings.map((r) => [Number(r[1]) & 3, r[2]])).toEqual(
        [0, 1, 2, 3].flatMap(() => [
          [1, '8'],
          [2, '0'],
        ]),
      )
      const times = rows.map((r) => r.split('\t')[0])
      expect(times.every((t) => /^\d+\.\d{9}$/.test(t))).toBe(true)
      expect([...times].sort()).toEqual(times)
      // Not all of them are whole microseconds.
      expect(times.some((t) => !t.endsWith('000'))).toBe(true)
      expect(rows[0]).toContain('lan.a')
    })

    it('nothing of a port that was not asked for', async () => {
      await place.up(place.write(pair()))
      const capture = place.start('capture', 'a', '-w', place.path('a.pcapng'))
      await begun(place.path('a.pcapng'))
      expect(await lab.ping(made[0], '10.8.0.2', 2)).toBe(2)
      const [a, b] = await place.json<CounterRow[]>('show', 'counters')
      expect(a.captured).toBeGreaterThanOrEqual(4)
      expect([b.captured, b.captureLost]).toEqual([0, 0])
      await capture.end('SIGINT')
      const before = (await place.counters('a')).captured
      expect(await lab.ping(made[0], '10.8.0.2', 2)).toBe(2)
      expect((await place.counters('a')).captured).toBe(before)
    })

    it('into a pipe', async () => {
      await place.up(place.write(pair()))
      const script = `"${process.execPath}" "${CLI}" --socket "${place.socket}" capture b -w - --count 6 | tshark -n -r - 2>/dev/null`
      const piped = ended(launch('sh', ['-c', script]))
      // For as long as it takes, however slowly the capture begins.
      const ping = lab.start(made[0], 'ping', '-n', '-i', '0.1', '10.8.0.2')
      const { stdout, stderr, code } = await piped
      ping.kill('SIGINT')
      expect(code).toBe(0)
      expect(stdout).toContain('ICMP')
      expect(stdout.trim().split('\n').length).toBe(6)
      expect(stderr).toContain('6 packets captured')
    })

    it('until its port goes', async () => {
      await place.up(place.write(pair()))
      const capture = place.start('capture', 'b', '-w', place.path('b.pcapng'))
      await begun(place.path('b.pcapng'))
      expect(await lab.ping(made[0], '10.8.0.2', 2)).toBe(2)
      place.write(lan({ a: tap(made[0], 1) }, made))
      expect((await place.ask('reload')).code).toBe(0)
      expect(await capture.exit).toBe(0)
      expect(tshark(place.path('b.pcapng'), 'icmp.type').filter((t) => t !== '').length).toBe(4)
    })

    it('and says so when the disk is full', async () => {
      await place.up(place.write(pair()))
      const { code, stderr } = await place.ask('capture', 'a', '-w', '/dev/full')
      expect(stderr).toMatch(/^taploom: cannot write the capture: ENOSPC/)
      expect(code).toBe(1)
    })
  })
})
