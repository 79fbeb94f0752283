import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PATIENCE_MS, RemoteNames } from '../../../src/control/tunnel/remote-names.ts'

/** What the resolver says of each name, and what became of it. */
class Zone {
  records = new Map<string, string[] | 'silence'>()
  asked: string[] = []
  told: string[] = []
  readonly names: RemoteNames

  constructor(intervalMs = 60_000) {
    const look = (name: string): Promise<string[]> => {
      this.asked.push(name)
      const found = this.records.get(name)
      if (found === 'silence') return new Promise(() => {})
      return found ? Promise.resolve(found) : Promise.reject(new Error(`getaddrinfo ENOTFOUND ${name}`))
    }
    const events = {
      changed: (name: string, address: string, was: string | null) =>
        this.told.push(`${name} ${was} -> ${address}`),
      failed: (name: string, reason: string) => this.told.push(`${name}: ${reason}`),
    }
    this.names = new RemoteNames(4, intervalMs, events, look)
  }

  want(...names: string[]): Promise<void> {
    return this.names.want(new Set(names))
  }
}

describe('names of remotes', () => {
  let zone: Zone
  beforeEach(() => {
    vi.useFakeTimers()
    zone = new Zone()
  })
  afterEach(() => {
    zone.names.close()
    vi.useRealTimers()
  })

  it('are looked up when wanted, and again at every interval; only a change is told', async () => {
    zone.records.set('b', ['192.0.2.2'])
    await zone.want('b')
    expect(zone.names.address('b')).toBe('192.0.2.2')
    expect(zone.told).toEqual(['b null -> 192.0.2.2'])
    await vi.advanceTimersByTimeAsync(180_000)
    expect(zone.asked).toHaveLength(4)
    expect(zone.told).toHaveLength(1)
    zone.records.set('b', ['192.0.2.9'])
    await vi.advanceTimersByTimeAsync(60_000)
    expect(zone.told[1]).toBe('b 192.0.2.2 -> 192.0.2.9')
  })

  it('with several addresses keep the one they had', async () => {
    zone.records.set('b', ['192.0.2.2', '192.0.2.3'])
    await zone.want('b')
    zone.records.set('b', ['192.0.2.3', '192.0.2.2'])
    await vi.advanceTimersByTimeAsync(60_000)
    expect(zone.names.address('b')).toBe('192.0.2.2')
    zone.records.set('b', ['192.0.2.3', '192.0.2.4'])
    await vi.advanceTimersByTimeAsync(60_000)
    expect(zone.names.address('b')).toBe('192.0.2.3')
  })

  it('that cannot be looked up do not hold up the start, are told once and tried again sooner', async () => {
    await zone.want('b')
    expect(zone.told).toEqual(['b: getaddrinfo ENOTFOUND b'])
    await vi.advanceTimersByTimeAsync(20_000)
    expect(zone.asked.length).toBeGreaterThanOrEqual(4)
    expect(zone.told).toHaveLength(1)
    zone.records.set('b', ['192.0.2.2'])
    await vi.advanceTimersByTimeAsync(60_000)
    expect(zone.names.address('b')).toBe('192.0.2.2')
  })

  it('keep what they had while the resolver fails', async () => {
    zone.records.set('b', ['192.0.2.2'])
    await zone.want('b')
    zone.records.delete('b')
    await vi.advanceTimersByTimeAsync(600_000)
    expect(zone.names.address('b')).toBe('192.0.2.2')
    expect(zone.told).toEqual(['b null -> 192.0.2.2', 'b: getaddrinfo ENOTFOUND b'])
  })

  it('a resolver that is silent is waited for a little, and given up', async () => {
    zone.records.set('b', 'silence')
    let ready = false
    void zone.want('b').then(() => {
      ready = true
    })
    await vi.advanceTimersByTimeAsync(PATIENCE_MS - 1)
    expect(ready).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(ready).toBe(true)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(zone.told).toEqual(['b: nobody answered in time'])
  })

  it('that nobody wants any more are not asked for', async () => {
    zone.records.set('b', ['192.0.2.2'])
    await zone.want('b')
    await zone.want()
    expect(zone.names.address('b')).toBeNull()
    zone.asked = []
    await vi.advanceTimersByTimeAsync(600_000)
    expect(zone.asked).toEqual([])
  })

  it('a multicast address is no remote', async () => {
    zone.records.set('b', ['239.1.1.1'])
    await zone.want('b')
    expect(zone.told).toEqual(['b: it has no address'])
  })
})
