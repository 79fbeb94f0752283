/**
 * Names of remotes: looked up when first wanted, and again every `resolve` of their VTEP. A name stands for
 * one remote: of several addresses the one it had stays as long as it is among them (lists are rotated by
 * many servers), else the first is taken. A name that cannot be looked up keeps the address it had, and is
 * tried again sooner.
 */
import { lookup } from 'node:dns/promises'
import { isMulticast } from '../../config/address.ts'

/** All addresses of a name; throws when there are none. */
export type Lookup = (name: string, family: 4 | 6) => Promise<string[]>

export const systemLookup: Lookup = async (name, family) => {
  const found = await lookup(name, { family, all: true })
  return found.map((one) => one.address)
}

export interface NameEvents {
  /** `was` null: it had none so far. */
  changed(name: string, address: string, was: string | null): void
  /** Told once, until it works again. */
  failed(name: string, reason: string): void
}

/** How long a start waits for names; those that come later are used when they come. */
export const PATIENCE_MS = 2000
/** A resolver that does not answer is not waited for longer. */
const TIMEOUT_MS = 10_000
/** After a failure, doubled each time up to the interval. */
const RETRY_MS = 2000

interface Entry {
  name: string
  address: string | null
  failing: boolean
  retryMs: number
  timer: NodeJS.Timeout | null
  /** The look-up that is under way. */
  turn: Promise<void>
}

export class RemoteNames {
  private readonly entries = new Map<string, Entry>()
  private readonly family: 4 | 6
  private readonly look: Lookup
  private readonly events: NameEvents
  intervalMs: number
  private closed = false

  constructor(family: 4 | 6, intervalMs: number, events: NameEvents, look: Lookup = systemLookup) {
    this.family = family
    this.intervalMs = intervalMs
    this.events = events
    this.look = look
  }

  /** null: not known (yet). */
  address(name: string): string | null {
    return this.entries.get(name)?.address ?? null
  }

  /** The names that somebody uses now. Looks up new ones; waits for them, but not for ever. */
  async want(names: ReadonlySet<string>): Promise<void> {
    for (const [name, entry] of this.entries) {
      if (names.has(name)) continue
      if (entry.timer) clearTimeout(entry.timer)
      this.entries.delete(name)
    }
    const fresh = [...names].filter((name) => !this.entries.has(name)).map((name) => this.start(name))
    if (fresh.length === 0) return
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, PATIENCE_MS)
    })
    await Promise.race([Promise.all(fresh.map((entry) => entry.turn)), patience])
    clearTimeout(timer)
  }

  private start(name: string): Entry {
    const entry: Entry = {
      name,
      address: null,
      failing: false,
      retryMs: RETRY_MS,
      timer: null,
      turn: Promise.resolve(),
    }
    this.entries.set(name, entry)
    entry.turn = this.resolve(entry)
    return entry
  }

  private async resolve(entry: Entry): Promise<void> {
    const { name } = entry
    let waitMs = this.intervalMs
    try {
      const found = (await this.within(name)).filter((address) => !isMulticast(address))
      if (this.entries.get(name) !== entry || this.closed) return
      if (found.length === 0) throw new Error('it has no address')
      entry.failing = false
      entry.retryMs = RETRY_MS
      const was = entry.address
      if (was === null || !found.includes(was)) {
        entry.address = found[0]
        this.events.changed(name, found[0], was)
      }
    } catch (error) {
      if (this.entries.get(name) !== entry || this.closed) return
      waitMs = Math.min(this.intervalMs, entry.retryMs)
      entry.retryMs *= 2
      if (!entry.failing) this.events.failed(name, (error as Error).message)
      entry.failing = true
    }
    entry.timer = setTimeout(() => {
      entry.turn = this.resolve(entry)
    }, waitMs)
    entry.timer.unref()
  }

  private within(name: string): Promise<string[]> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('nobody answered in time')), TIMEOUT_MS)
      timer.unref()
      this.look(name, this.family)
        .then(resolve, reject)
        .finally(() => clearTimeout(timer))
    })
  }

  close(): void {
    this.closed = true
    for (const { timer } of this.entries.values()) if (timer) clearTimeout(timer)
    this.entries.clear()
  }
}
