/** A VTEP whose kernel is made up, and a clock moved by hand. */
import { describe, expect, it } from 'vitest'
import type { VtepConfig } from '../../../src/config/types.ts'
import type { LiveVtep } from '../../../src/control/tunnel/live-vtep.ts'
import type { PathKernel } from '../../../src/control/tunnel/path-kernel.ts'
import { RemoteNames } from '../../../src/control/tunnel/remote-names.ts'
import { TICK_MS, VtepWatch } from '../../../src/control/tunnel/watch.ts'
import type { EchoReply } from '../../../src/native.ts'
import { REMOTE_SHIFT, Remote, RemoteFlag, vtepMemory } from '../../../src/tunnel/tables.ts'

const CONFIG: VtepConfig = {
  netns: '',
  local: '192.0.2.1',
  family: 4,
  port: 4789,
  device: '',
  mtu: 0,
  underlay: 'socket',
  df: 'unset',
  ttl: 64,
  groupTtl: 1,
  tos: 0,
  udpChecksum: true,
  strict: false,
  sourcePorts: 1,
  limit: 16,
  maxRemotes: 16,
  resolveS: 60,
  probe: { mtu: true, liveness: false, intervalS: 1, misses: 3 },
}

class World {
  nowMs = 0
  device = 1500
  /** What the kernel believes, and what really fits (0 = nobody answers), by remote. */
  believes: Record<string, number> = {}
  fits: Record<string, number> = {}
  replies: EchoReply[] = []
  echoes = 0
  asked = 0
  told: string[] = []
  canEcho = true
  readonly vtep: LiveVtep
  readonly words: Int32Array
  readonly watch: VtepWatch

  constructor(config: Partial<VtepConfig> = {}) {
    this.vtep = {
      id: 1,
      name: 'u',
      index: 0,
      config: { ...CONFIG, ...config },
      memory: vtepMemory(16, 16, 16, 1),
      unicast: -1,
      senders: [],
      underlay: null,
      groups: new Map(),
      device: 'u0',
      mtu: 1500,
      names: new RemoteNames(4, 60_000, { changed() {}, failed() {} }),
      tunnels: new Map(),
    }
    this.words = this.vtep.memory.remotes
    const kernel: PathKernel = {
      deviceMtu: () => this.device,
      pathMtu: (_netns, _local, remote) => {
        this.asked++
        if (this.believes[remote] === -1) throw new Error('no route')
        return this.believes[remote] ?? this.device
      },
      openEcho: () => {
        if (!this.canEcho) throw new Error('not permitted')
        return 99
      },
      echo: (_fd, remote, id, seq, bytes) => {
        this.echoes++
        if (bytes <= (this.fits[remote] ?? 0)) this.replies.push({ remote, id, seq, bytes })
        return 0
      },
      echoReply: () => this.replies.shift() ?? null,
      close: () => this.told.push('closed'),
    }
    this.watch = new VtepWatch(
      this.vtep,
      {
        mtu: (_, remote, was) =>
          this.told.push(`${remote.text} ${was} -> ${remote.probe.mtu} ${remote.probe.source}`),
        state: (_, remote, was) => this.told.push(`${remote.text} ${was} -> ${remote.state}`),
        changed: () => {},
        trouble: (_, reason) => this.told.push(reason),
      },
      kernel,
    )
  }

  /** The worker enters a remote: 192.0.2.`n`. */
  enter(row: number, n: number, flags: number = RemoteFlag.Named): void {
    const at = row << REMOTE_SHIFT
    this.words[at + Remote.Address0] = (192 << 24) | (2 << 8) | n
    this.words[at + Remote.Flags] = flags
    this.words[at + Remote.Family] = 4
  }

  leave(row: number): void {
    this.words.fill(0, row << REMOTE_SHIFT, (row + 1) << REMOTE_SHIFT)
  }

  mtu(row: number): number {
    return this.words[(row << REMOTE_SHIFT) + Remote.Mtu]
  }

  run(ms: number): this {
    for (const end = this.nowMs + ms; this.nowMs < end; this.nowMs += TICK_MS) this.watch.tick(this.nowMs)
    return this
  }
}

describe('the watch over remotes', () => {
  it('writes the MTU into the row as soon as it sees it', () => {
    const world = new World()
    world.enter(3, 2)
    world.believes['192.0.2.2'] = 1400
    world.run(TICK_MS)
    expect([world.mtu(3), world.told]).toEqual([1400, []])
    expect(world.watch.remotes.get(3)).toMatchObject({
      text: '192.0.2.2',
      named: true,
      probe: { source: 'icmp' },
    })
  })

  it('polls the kernel, and asks at once after an EMSGSIZE', () => {
    const world = new World({ probe: { ...CONFIG.probe, mtu: false } })
    world.enter(0, 2)
    world.run(1000)
    world.believes['192.0.2.2'] = 1300
    world.run(600)
    expect([world.mtu(0), world.told]).toEqual([1300, ['192.0.2.2 1500 -> 1300 icmp']])
    world.believes['192.0.2.2'] = 1200
    world.watch.poke()
    world.run(TICK_MS)
    expect(world.mtu(0)).toBe(1200)
    // Each remote twice a second, no more.
    world.asked = 0
    world.run(5000)
    expect(world.asked).toBeLessThanOrEqual(10)
  })

  it('without a route there is the device', () => {
    const world = new World()
    world.believes['192.0.2.2'] = -1
    world.enter(0, 2)
    expect(world.run(TICK_MS).mtu(0)).toBe(1500)
    world.device = 1400
    expect(world.run(1000).mtu(0)).toBe(1400)
  })

  it('searches a path each for itself', () => {
    const world = new World()
    world.fits = { '192.0.2.2': 1480, '192.0.2.3': 1420, '192.0.2.4': 1500 }
    for (const n of [2, 3, 4, 5]) world.enter(n, n)
    world.run(20_000)
    expect([2, 3, 4, 5].map((row) => world.mtu(row))).toEqual([1480, 1420, 1500, 1500])
    const states = [...world.watch.remotes.values()].map((r) => r.state)
    expect(states).toEqual(['up', 'up', 'up', 'unknown'])
  })

  it('what the operator said is not searched', () => {
    const world = new World({ mtu: 1400 })
    world.fits = { '192.0.2.2': 1300 }
    world.enter(0, 2)
    world.run(20_000)
    expect([world.mtu(0), world.echoes]).toEqual([1400, 0])
    world.vtep.config = { ...world.vtep.config, mtu: 1350 }
    expect(world.run(TICK_MS).mtu(0)).toBe(1350)
  })

  it('a group has the MTU of the device and is sent no echoes', () => {
    const world = new World()
    world.enter(0, 2, RemoteFlag.Named | RemoteFlag.Group)
    world.believes['192.0.2.2'] = 1000
    world.run(5000)
    expect([world.mtu(0), world.echoes]).toEqual([1500, 0])
  })

  it('liveness: echoes and traffic', () => {
    const world = new World({ probe: { mtu: false, liveness: true, intervalS: 1, misses: 3 } })
    world.fits = { '192.0.2.2': 1500 }
    world.enter(0, 2)
    world.run(2000)
    world.fits = {}
    world.run(6000)
    world.words[Remote.HeardS] = 77
    world.run(200)
    expect(world.told).toEqual(['192.0.2.2 unknown -> up', '192.0.2.2 up -> down', '192.0.2.2 down -> up'])
  })

  it('a row that is used anew is another remote', () => {
    const world = new World()
    world.fits = { '192.0.2.2': 1300 }
    world.enter(0, 2)
    world.run(20_000)
    expect(world.mtu(0)).toBe(1300)
    world.leave(0)
    world.enter(0, 3)
    world.run(TICK_MS)
    expect([world.mtu(0), world.watch.remotes.get(0)?.text]).toEqual([1500, '192.0.2.3'])
    world.leave(0)
    world.run(TICK_MS)
    expect(world.watch.remotes.size).toBe(0)
  })

  it('an answer of somebody else, or of another length, counts for nobody', () => {
    const world = new World()
    world.enter(0, 2)
    world.run(TICK_MS)
    for (let seq = 0; seq < 5; seq++) {
      for (const id of [0, 1]) world.replies.push({ remote: '192.0.2.2', id, seq, bytes: 1500 })
      world.replies.push({ remote: '192.0.2.9', id: 5, seq, bytes: 84 })
    }
    world.run(TICK_MS)
    expect(world.watch.remotes.get(0)?.probe.phase).toBe('idle')
  })

  it('without the right to send echoes there is what the kernel believes', () => {
    const world = new World()
    world.canEcho = false
    world.enter(0, 2)
    world.run(5000)
    expect([world.mtu(0), world.told]).toEqual([1500, ['no echoes can be sent: not permitted']])
  })

  it('closes what it opened', () => {
    const world = new World()
    world.enter(0, 2)
    world.run(TICK_MS).watch.close()
    world.watch.close()
    expect(world.told).toEqual(['closed'])
  })
})
