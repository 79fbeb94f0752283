/** A path as a function of size and time, a clock moved by hand, and what the probe makes of it. */
import { describe, expect, it } from 'vitest'
import {
  CONFIRM_MS,
  FAN,
  MAX_PROBES,
  type PathOptions,
  PathProbe,
  RAISE_MS,
  SMALL,
  spread,
} from '../../../src/control/tunnel/path-probe.ts'

const STEP_MS = 100

class Path {
  nowMs = 0
  /** Longest packet that comes back; 0 = nobody answers. */
  fits = 1500
  /** Echoes lost whatever their size: every nth. */
  losesEvery = 0
  sent: number[] = []
  readonly probe: PathProbe
  private count = 0

  constructor(options: Partial<PathOptions> = {}, mtu = 1500) {
    const all = { family: 4 as const, mtu: true, liveness: false, intervalMs: 10_000, misses: 3, ...options }
    this.probe = new PathProbe(all, mtu, 'device')
  }

  run(ms: number): this {
    for (const end = this.nowMs + ms; this.nowMs < end; this.nowMs += STEP_MS) {
      for (const bytes of this.probe.due(this.nowMs)) {
        this.sent.push(bytes)
        this.count++
        const lost = this.losesEvery > 0 && this.count % this.losesEvery === 0
        if (bytes <= this.fits && !lost) this.probe.answer(bytes, this.nowMs + 1)
      }
    }
    return this
  }

  get found() {
    return [this.probe.mtu, this.probe.source]
  }
}

describe('the MTU of a path', () => {
  it('that takes what the device takes is known after one round', () => {
    const path = new Path().run(STEP_MS)
    expect(path.sent).toEqual([SMALL[4], 1500])
    path.run(STEP_MS)
    expect([path.probe.phase, ...path.found]).toEqual(['complete', 1500, 'device'])
    expect(path.probe.state(path.nowMs)).toBe('up')
  })

  it("where nobody answers is the kernel's", () => {
    const path = new Path()
    path.fits = 0
    path.run(600_000)
    expect([path.probe.phase, ...path.found]).toEqual(['idle', 1500, 'device'])
    expect(path.probe.state(path.nowMs)).toBe('unknown')
    // Rarer and rarer: not more than one round a minute at last.
    expect(path.sent.length).toBeLessThan(2 * 20)
    path.probe.kernel(1400, 'icmp', path.nowMs)
    expect(path.found).toEqual([1400, 'icmp'])
    path.probe.kernel(1500, 'device', path.nowMs)
    expect(path.found).toEqual([1500, 'device'])
  })

  it.each([1499, 1492, 1480, 1428, 1400, 1281, 1280, 1279, 1124, 576, 300])(
    'a black hole behind %i bytes is found',
    (fits) => {
      const path = new Path()
      path.fits = fits
      path.run(MAX_PROBES * 1000 + 12_000)
      expect([path.probe.phase, ...path.found]).toEqual(['complete', fits, 'probe'])
    },
  )

  it('a jumbo path is searched as fast', () => {
    const path = new Path({}, 65535)
    path.fits = 8972
    path.run(20_000)
    expect(path.found).toEqual([8972, 'probe'])
  })

  it('over IPv6 is never below 1280', () => {
    const path = new Path({ family: 6 })
    path.fits = 1000
    path.run(30_000)
    expect(path.found).toEqual([1280, 'probe'])
    const other = new Path({ family: 6 })
    other.fits = 1452
    expect(other.run(20_000).found).toEqual([1452, 'probe'])
  })

  it('lost echoes make it neither too large nor, after the next search, too small', () => {
    for (const every of [2, 3, 5, 7]) {
      const path = new Path()
      path.fits = 1400
      path.losesEvery = every
      path.run(60_000)
      expect(path.probe.mtu).toBeLessThanOrEqual(1400)
      path.losesEvery = 0
      path.run(RAISE_MS + 120_000)
      expect(path.found, `${every}`).toEqual([1400, 'probe'])
    }
  })

  it('shrinks in mid-life without a word of ICMP', () => {
    const path = new Path().run(5000)
    path.fits = 1380
    path.run(CONFIRM_MS + MAX_PROBES * 1000 + 10_000)
    expect(path.found).toEqual([1380, 'probe'])
  })

  it('shrinks at once when ICMP says so', () => {
    const path = new Path().run(5000)
    path.fits = 1380
    path.probe.kernel(1380, 'icmp', path.nowMs)
    expect(path.found).toEqual([1380, 'icmp'])
    path.run(5000)
    expect([path.probe.phase, ...path.found]).toEqual(['complete', 1380, 'icmp'])
  })

  it('shrinks by ICMP in the middle of a search', () => {
    const path = new Path()
    path.fits = 1400
    path.run(MAX_PROBES * 1000 + 1500)
    expect(path.probe.phase).toBe('search')
    path.fits = 1300
    path.probe.kernel(1300, 'icmp', path.nowMs)
    path.run(20_000)
    expect(path.found).toEqual([1300, 'icmp'])
  })

  it('grows when the raise timer is over, or the kernel believes in more', () => {
    const path = new Path()
    path.fits = 1400
    path.run(20_000)
    path.fits = 1500
    path.run(RAISE_MS + 5000)
    expect(path.found).toEqual([1500, 'device'])

    path.probe.kernel(1400, 'icmp', path.nowMs)
    path.run(5000)
    // What ICMP said has expired, but the path is as narrow as before.
    path.fits = 1400
    path.probe.kernel(1500, 'device', path.nowMs)
    path.run(20_000)
    expect(path.found).toEqual([1400, 'probe'])
    path.fits = 1450
    path.probe.kernel(1500, 'device', path.nowMs)
    path.run(RAISE_MS + 20_000)
    expect(path.found).toEqual([1450, 'probe'])
  })

  it('never exceeds what was answered or the kernel believes', () => {
    const path = new Path()
    path.fits = 1333
    path.run(4000)
    for (let i = 0; i < 100; i++) {
      path.run(STEP_MS)
      expect(path.probe.mtu).toBeLessThanOrEqual(1333)
    }
  })

  it('costs an echo or two every half minute when all is well', () => {
    const path = new Path().run(5000)
    path.sent = []
    path.run(300_000)
    expect(path.sent.length).toBeLessThanOrEqual(2 * (300_000 / CONFIRM_MS))
  })

  it('off: nothing is sent', () => {
    const path = new Path({ mtu: false })
    path.run(100_000)
    expect(path.sent).toEqual([])
  })
})

describe('liveness', () => {
  const options = { mtu: false, liveness: true, intervalMs: 1000, misses: 3 }
  const state = (path: Path) => path.probe.state(path.nowMs)

  it('a remote that stops answering is down after its misses, and up with the first answer', () => {
    const path = new Path(options).run(5000)
    expect(state(path)).toBe('up')
    path.fits = 0
    path.run(2500)
    expect(state(path)).toBe('up')
    path.run(2000)
    expect(state(path)).toBe('down')
    path.fits = 1500
    path.run(1500)
    expect(state(path)).toBe('up')
  })

  it('one that never answered is down too', () => {
    const path = new Path(options)
    path.fits = 0
    path.run(4500)
    expect(state(path)).toBe('down')
  })

  it('traffic counts as an answer', () => {
    const path = new Path(options)
    path.fits = 0
    for (let i = 0; i < 20; i++) {
      path.run(1000)
      path.probe.heard(path.nowMs)
    }
    expect(state(path)).toBe('up')
  })

  it('goes with a search', () => {
    const path = new Path({ ...options, mtu: true })
    path.fits = 1400
    path.run(20_000)
    expect([state(path), ...path.found]).toEqual(['up', 1400, 'probe'])
    path.fits = 0
    path.run(6000)
    expect([state(path), path.probe.mtu]).toEqual(['down', 1400])
  })

  it('an interval below a second', () => {
    const path = new Path({ ...options, intervalMs: 200 }).run(2000)
    path.fits = 0
    path.run(1000)
    expect(state(path)).toBe('down')
  })
})

it('a fan covers all of what is between', () => {
  expect(spread(1280, 1281)).toEqual([])
  expect(spread(1280, 1284)).toEqual([1281, 1282, 1283])
  const wide = spread(576, 1501)
  expect(wide).toHaveLength(FAN)
  expect(wide.at(-1)).toBe(1500)
  expect(wide).toEqual([...new Set(wide)].sort((a, b) => a - b))
})
