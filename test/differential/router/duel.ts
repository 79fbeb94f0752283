/**
 * One packet into both routers, and what may differ in what comes out.
 *
 * Compared are whole frames, byte for byte, by the link they leave by and in order. Taken out before:
 *
 * - the identification of IPv4 packets that the router makes (errors, resets, echo replies): a counter on both
 *   sides, and only there to be unique. What is forwarded must keep its own.
 * - the identification in IPv6 fragment headers, when the router cut the packet: it is random in the kernel.
 *   First seen is 1, and so on, so that pieces of one packet must still have the same.
 *
 * A header checksum is corrected for it, if it was right; if not, it stays wrong.
 */
import { onesSum } from '../../support/frames.ts'
import { type KernelSide, sleep } from './kernel-side.ts'
import type { OurSide } from './our-side.ts'
import { toRouter } from './world.ts'

export interface Sent {
  link: number
  packet: Uint8Array
  /** The frame's destination, if it is not the router. */
  dst?: Uint8Array
  what?: string
  /** To wait before it, ms. */
  pauseMs?: number
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

export class Duel {
  readonly kernel: KernelSide
  readonly ours: OurSide
  readonly differences: string[] = []
  sent = 0
  came = 0
  /** NAT drew a port, each side its own: what comes later cannot be compared. */
  drawn = false

  constructor(kernel: KernelSide, ours: OurSide) {
    this.kernel = kernel
    this.ours = ours
  }

  /** Sends to both and notes the difference. Returns what came out, by link, as IP packets (the kernel's). */
  send(p: Sent): Uint8Array[][] {
    if (p.pauseMs) sleep(p.pauseMs)
    const frame = toRouter(p.link, p.packet, p.dst)
    const mine = this.ours.send(p.link, frame)
    const count = mine.reduce((n, list) => n + list.length, 0)
    const theirs = this.kernel.send(p.link, frame, count)
    this.sent++
    this.came += theirs.reduce((n, list) => n + list.length, 0)
    const id = p.packet[0] >> 4 === 4 ? (p.packet[4] << 8) | p.packet[5] : -1
    const [a, b] = [normal(mine, id), normal(theirs, id)]
    if (JSON.stringify(a) === JSON.stringify(b)) return theirs.map((list) => list.map((f) => f.subarray(14)))
    if (JSON.stringify(portless(mine, id)) === JSON.stringify(portless(theirs, id))) this.drawn = true
    else {
      this.differences.push(
        [
          `#${this.sent} link ${p.link} ${p.what ?? ''} ${told(p.packet)}`,
          `  in     ${hex(frame)}`,
          ...shown('kernel', theirs, b),
          ...shown('ours', mine, a),
        ].join('\n'),
      )
    }
    return theirs.map((list) => list.map((f) => f.subarray(14)))
  }
}

function shown(who: string, frames: Uint8Array[][], normalised: string[][]): string[] {
  const lines = frames.flatMap((list, link) =>
    list.map(
      (f, i) => `  ${who.padEnd(6)} link ${link} ${told(f.subarray(14))}\n         ${normalised[link][i]}`,
    ),
  )
  return lines.length > 0 ? lines : [`  ${who.padEnd(6)} nothing`]
}

/** @param id of the packet sent: forwarded ones have it still */
function normal(frames: Uint8Array[][], id: number): string[][] {
  const ids = new Map<number, number>()
  return frames.map((list) =>
    list.map((frame) => {
      const copy = frame.slice()
      if (copy[12] === 8 && copy[13] === 0) withoutId(copy.subarray(14), id)
      if (copy[12] === 0x86 && copy[13] === 0xdd && copy[14 + 6] === 44) renumber(copy.subarray(54), ids)
      return hex(copy)
    }),
  )
}

function withoutId(ip: Uint8Array, id: number): void {
  const own = (ip[4] << 8) | ip[5]
  const reply = ip[9] === 1 && ip[20] === 0
  if (own === id && !reply) return
  const header = ip.subarray(0, (ip[0] & 15) * 4)
  if (onesSum(header) !== 0xffff) return
  header.fill(0, 4, 6)
  header.fill(0, 10, 12)
  const sum = ~onesSum(header) & 0xffff
  header.set([sum >> 8, sum & 255], 10)
}

function renumber(fragment: Uint8Array, ids: Map<number, number>): void {
  const view = new DataView(fragment.buffer, fragment.byteOffset)
  const id = view.getUint32(4)
  if (!ids.has(id)) ids.set(id, ids.size + 1)
  view.setUint32(4, ids.get(id)!)
}

/** The same without ports and what they make of checksums. */
function portless(frames: Uint8Array[][], id: number): string[][] {
  const masked = frames.map((list) =>
    list.map((frame) => {
      const copy = frame.slice()
      const at = copy[14] >> 4 === 6 ? 54 + (copy[20] === 44 ? 8 : 0) : 14 + (copy[14] & 15) * 4
      const proto = copy[14] >> 4 === 6 ? copy[copy[20] === 44 ? 54 : 20] : copy[23]
      if (proto === 6) copy.fill(0, at, at + 4).fill(0, at + 16, at + 18)
      if (proto === 17) copy.fill(0, at, at + 4).fill(0, at + 6, at + 8)
      // Behind extension headers.
      if (copy[14] >> 4 === 6 && [0, 43, 60].includes(copy[20])) copy.fill(0, 54)
      // Identifiers of echoes, and ports in what errors quote.
      if (proto === 1 || proto === 58) copy.fill(0, at + 2)
      return copy
    }),
  )
  return normal(masked, id)
}

const PROTOCOLS: Record<number, string> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6' }

/** A packet in a line, for people. */
export function told(p: Uint8Array): string {
  const word = (at: number): number => (p[at] << 8) | p[at + 1]
  if (p.length < 20) return `${p.length} bytes`
  const six = p[0] >> 4 === 6
  const at = six ? 40 : (p[0] & 15) * 4
  const proto = six ? p[6] : p[9]
  const name = PROTOCOLS[proto] ?? `proto ${proto}`
  const groups = (from: number): string =>
    Array.from({ length: 8 }, (_, i) => word(from + 2 * i).toString(16))
      .join(':')
      .replace(/(:0)+:/, '::')
  const [src, dst] = six
    ? [groups(8), groups(24)]
    : [p.subarray(12, 16).join('.'), p.subarray(16, 20).join('.')]
  const frag = six
    ? ''
    : `${word(6) & 0x4000 ? ' DF' : ''}${word(6) & 0x3fff ? ` frag ${(word(6) & 0x1fff) * 8}${word(6) & 0x2000 ? '+' : ''}` : ''}`
  const l4 =
    proto === 1 || proto === 58
      ? `type ${p[at]}/${p[at + 1]}`
      : `${word(at)}>${word(at + 2)}${proto === 6 ? ` flags ${p[at + 13].toString(16)}` : ''}`
  return `${name} ${src} > ${dst} ${l4} ttl ${six ? p[7] : p[8]} tos ${six ? (word(0) >> 4) & 255 : p[1]} len ${p.length}${frag}${at > 20 && !six ? ' options' : ''}`
}

/** The counted lines of a saved rule set, by table and chain: 'filter FORWARD' -> policy line and rules. */
export function chains(text: string): Map<string, string[]> {
  const found = new Map<string, string[]>()
  let table = ''
  for (const line of text.split('\n')) {
    const chain = /^:(\S+)/.exec(line)?.[1] ?? / -A (\S+)/.exec(line)?.[1]
    if (line.startsWith('*')) table = line.slice(1)
    else if (chain !== undefined) {
      const name = `${table} ${chain}`
      const list = found.get(name)
      if (list) list.push(line)
      else found.set(name, [line])
    }
  }
  return found
}

/** Lines that are not the same; empty when all are. */
export function counterDifferences(ours: string, theirs: string): string[] {
  const [a, b] = [chains(ours), chains(theirs)]
  const wrong: string[] = []
  for (const name of new Set([...a.keys(), ...b.keys()])) {
    const [mine, other] = [a.get(name) ?? [], b.get(name) ?? []]
    for (let i = 0; i < Math.max(mine.length, other.length); i++) {
      if (mine[i] !== other[i]) wrong.push(`${name}:\n  kernel ${other[i]}\n  ours   ${mine[i]}`)
    }
  }
  return wrong
}
