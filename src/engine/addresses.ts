/**
 * The addresses of a router's interfaces: which of them are in use, and what is being found out about them.
 * Interfaces (router/interfaces.ts) has those in use, in the configuration's order; which are free to be used
 * says router/neighbour-dad.ts. What changes is told to the control thread.
 */
import { Clock } from '../packet/layout.ts'
import type { PlaneMemory } from '../packet/memory.ts'
import type { Arp } from '../router/arp.ts'
import { IfFlag, type Interfaces, MAX_ADDRESSES, MAX_INTERFACES } from '../router/interfaces.ts'
import type { Nd } from '../router/nd.ts'
import { Begin, Fate } from '../router/neighbour-dad.ts'
import type { AddressBegin, AddressNews, InterfaceSettings } from './command.ts'

/** Conflicts of an interface are told this often at most: who causes one can cause thousands. */
const CONFLICT_MS = 1000
const BEGINS: Record<AddressBegin, Begin> = {
  wait: Begin.Wait,
  use: Begin.Use,
  announce: Begin.Announce,
  taken: Begin.Taken,
}
const FATES: Record<Fate, AddressNews['fate']> = {
  [Fate.Unique]: 'unique',
  [Fate.Duplicate]: 'duplicate',
  [Fate.Conflict]: 'conflict',
}

interface Own {
  family: 4 | 6
  address: number[]
  length: number
  used: boolean
}

export class Addresses {
  arp!: Arp
  nd!: Nd
  private readonly memory: PlaneMemory
  private readonly interfaces: Interfaces
  private readonly report: (news: Omit<AddressNews, 'id'>) => void
  private readonly own: Own[][] = []
  private readonly toldMs = new Float64Array(MAX_INTERFACES).fill(Number.NEGATIVE_INFINITY)

  constructor(memory: PlaneMemory, interfaces: Interfaces, report: (news: Omit<AddressNews, 'id'>) => void) {
    this.memory = memory
    this.interfaces = interfaces
    this.report = report
  }

  private get nowMs(): number {
    return Math.floor(this.memory.clock[Clock.MonotonicMs])
  }

  /** Gives an interface its addresses; those that it had go on as they were, announced again if that is asked. */
  set(index: number, { name, flags, addresses }: InterfaceSettings): void {
    for (const family of [4, 6] as const) {
      if (addresses.filter((a) => a.family === family).length > MAX_ADDRESSES)
        throw new RangeError(`interface ${name}: at most ${MAX_ADDRESSES} addresses of each family`)
    }
    const before = this.own[index] ?? []
    const ethernet = (flags & IfFlag.NoEthernet) === 0
    const fresh: [Own, AddressBegin][] = []
    this.own[index] = addresses.map(({ family, address, length, begin }) => {
      const known = before.find((a) => same(a, family, address))
      if (known) {
        const own = { ...known, length }
        if (ethernet && known.used && begin === 'announce') fresh.push([own, begin])
        return own
      }
      const used = !ethernet || begin === undefined || begin === 'use' || begin === 'announce'
      const own: Own = { family, address, length, used }
      if (ethernet && begin !== undefined) fresh.push([own, begin])
      return own
    })
    for (const a of before) {
      if (!this.own[index].some((b) => same(b, a.family, a.address)))
        this.dad(a.family).stop(index, ...words(a.address))
    }
    this.write(index)
    for (const [a, begin] of fresh)
      this.dad(a.family).start(index, ...words(a.address), this.nowMs, BEGINS[begin])
  }

  remove(index: number): void {
    this.own[index] = []
    this.write(index)
    this.dad(4).flush(index)
    this.dad(6).flush(index)
  }

  /** AddressTold of arp.ts and nd.ts. */
  told(
    fate: Fate,
    index: number,
    family: 4 | 6,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    hi: number,
    lo: number,
  ): void {
    const address = family === 4 ? [w0] : [w0, w1, w2, w3]
    const own = this.own[index]?.find((a) => same(a, family, address))
    if (!own) return
    if (fate === Fate.Conflict) {
      if (this.nowMs < this.toldMs[index] + CONFLICT_MS) return
      this.toldMs[index] = this.nowMs
    } else if (own.used !== (fate === Fate.Unique)) {
      own.used = fate === Fate.Unique
      this.write(index)
    }
    const mac = Uint8Array.of(hi >> 8, hi, lo >> 24, lo >> 16, lo >> 8, lo)
    this.report({ interface: index, fate: FATES[fate], family, address, mac })
  }

  private dad(family: 4 | 6): Arp['dad'] {
    return family === 4 ? this.arp.dad : this.nd.dad
  }

  private write(index: number): void {
    const { interfaces } = this
    const used = this.own[index].filter((a) => a.used)
    const base = index * MAX_ADDRESSES
    const four = used.filter((a) => a.family === 4)
    const six = used.filter((a) => a.family === 6)
    four.forEach((a, i) => {
      interfaces.address4[base + i] = a.address[0]
      interfaces.prefix4[base + i] = a.length
      interfaces.own4(a.address[0])
    })
    six.forEach((a, i) => {
      interfaces.address6.set(a.address, (base + i) * 4)
      interfaces.prefix6[base + i] = a.length
    })
    interfaces.count4[index] = four.length
    interfaces.count6[index] = six.length
  }
}

function same(a: Own, family: 4 | 6, address: number[]): boolean {
  return a.family === family && a.address.every((word, i) => word === address[i])
}

function words(a: number[]): [number, number, number, number] {
  return [a[0], a[1] ?? 0, a[2] ?? 0, a[3] ?? 0]
}
