// HOT
/**
 * The Internet checksum: the complement of the ones' complement sum of 16-bit words (RFC 1071), changed
 * incrementally where a field changes (RFC 1624) and computed whole where a header is made here. Whole
 * packets are the addon's work (native/checksum.cc). Read RFC 1624 first, it has four pages.
 *
 *     equation 3     HC' = ~(~HC + ~m + m')     HC the checksum, m the old word, m' the new one
 *
 * A change is carried around as a *diff*, the sum of ~m + m' of all the words that changed, not folded: so
 * one checksum takes in many changes at once, and one change goes into many checksums (an address into the
 * header's and the transport's; all of that into an ICMP error's that quotes it).
 *
 * What the checksum field of a transport header holds, and so what a rewrite does to it (SumMode):
 *
 *     mode        the field holds                      an address or length    a port, an option
 *     Full        the checksum                         equation 3              equation 3
 *     Partial     the folded sum of the pseudo-        field + ~m + m'         nothing: whoever finishes
 *                 header, not complemented                                     the packet sums it
 *     Udp         0: there is none (RFC 768)           stays 0                 stays 0
 *                 else the checksum                    equation 3; a result of 0 is written as 0xffff
 */

export const enum SumMode {
  Full = 0,
  /** Flag.CsumPartial of the packet. */
  Partial = 1,
  /** The transport is UDP. May come with Partial. */
  Udp = 2,
}

/** A sum below 2^32 as 16 bits, with the carries added in. */
export function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16)
  return (sum & 0xffff) + (sum >>> 16)
}

/**
 * Folded sum of `len` bytes (at most 65535) and of `start`, below 2^16, which came before. An odd last byte
 * is the high byte of a word whose low byte is 0.
 */
export function sum(view: DataView, at: number, len: number, start: number): number {
  let total = start
  const end = at + (len & ~3)
  let i = at
  for (; i < end; i += 4) {
    const word = view.getUint32(i)
    total += (word >>> 16) + (word & 0xffff)
  }
  if ((len & 2) !== 0) {
    total += view.getUint16(i)
    i += 2
  }
  if ((len & 1) !== 0) total += view.getUint8(i) << 8
  return fold(total)
}

/** The checksum of `len` bytes behind what `start` sums up. */
export function checksumOf(view: DataView, at: number, len: number, start: number): number {
  return ~sum(view, at, len, start) & 0xffff
}

/** True when `len` bytes that include their checksum, and `start`, are as they were sent. */
export function verify(view: DataView, at: number, len: number, start: number): boolean {
  return sum(view, at, len, start) === 0xffff
}

/** The change of a 16-bit word. Diffs are added with +. */
export function diff16(from: number, to: number): number {
  return (~from & 0xffff) + to
}

/** The change of two words, as a 32-bit number. */
export function diff32(from: number, to: number): number {
  return (~from & 0xffff) + (~from >>> 16) + (to & 0xffff) + (to >>> 16)
}

/** The change of the 16-bit number at an odd distance from where the sum began. */
export function diff16Odd(from: number, to: number): number {
  return diff16(((from & 0xff) << 8) | (from >>> 8), ((to & 0xff) << 8) | (to >>> 8))
}

/** The change of an IPv6 address at `at` to these words. */
export function diffAddr6(
  view: DataView,
  at: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): number {
  return (
    diff32(view.getInt32(at), w0) +
    diff32(view.getInt32(at + 4), w1) +
    diff32(view.getInt32(at + 8), w2) +
    diff32(view.getInt32(at + 12), w3)
  )
}

/** Equation 3. */
export function apply(checksum: number, diff: number): number {
  return ~fold((~checksum & 0xffff) + diff) & 0xffff
}

/**
 * Takes a change of the pseudo-header (`pseudo`) and of bytes behind it (`data`) into the checksum field at
 * `sumAt`; -1 = there is none. Returns the change of the field itself, for a checksum that covers it.
 */
export function adjust(view: DataView, sumAt: number, pseudo: number, data: number, mode: number): number {
  if (sumAt < 0) return 0
  const old = view.getUint16(sumAt)
  let now: number
  if ((mode & SumMode.Partial) !== 0) now = fold(old + pseudo)
  else {
    if (old === 0 && (mode & SumMode.Udp) !== 0) return 0
    now = apply(old, pseudo + data)
    if (now === 0 && (mode & SumMode.Udp) !== 0) now = 0xffff
  }
  view.setUint16(sumAt, now)
  return diff16(old, now)
}

/** Folded sum of the pseudo-header (RFC 793 3.1) of the IPv4 header at `at`; `length` of what follows it. */
export function pseudo4(view: DataView, at: number, protocol: number, length: number): number {
  return sum(view, at + 12, 8, fold(protocol + length))
}

/** The same of the IPv6 header at `at` (RFC 8200 8.1). */
export function pseudo6(view: DataView, at: number, protocol: number, length: number): number {
  return sum(view, at + 8, 32, fold(protocol + length))
}

/**
 * Writes the checksum of a transport header and its payload, `len` bytes at `at`, to `sumAt`. With Partial
 * it writes the pseudo-header's sum and leaves the rest to whoever finishes the packet.
 */
export function fill(
  view: DataView,
  at: number,
  len: number,
  sumAt: number,
  pseudo: number,
  mode: number,
): void {
  if ((mode & SumMode.Partial) !== 0) {
    view.setUint16(sumAt, pseudo)
    return
  }
  view.setUint16(sumAt, 0)
  const checksum = checksumOf(view, at, len, pseudo)
  view.setUint16(sumAt, checksum === 0 && (mode & SumMode.Udp) !== 0 ? 0xffff : checksum)
}
