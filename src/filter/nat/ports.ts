// HOT
/**
 * Which port a translated flow gets, when its own is taken or not in the range. RFC 6056: nobody shall guess
 * it; Linux: classes, so that a privileged port stays one.
 *
 *     own port      range without --to-ports
 *     1 .. 511      1 .. 511
 *     512 .. 1023   600 .. 1023
 *     1024 ..       1024 .. 65535
 *     ICMP id       0 .. 65535
 *
 * The search begins at a random place and looks at up to ATTEMPTS ports in a row, then at half as many from
 * another random place, and so on: bounded, however full the range is.
 */
import { randomFillSync } from 'node:crypto'
import { isIcmp } from '../conntrack/tuple.ts'
import { type NatRange, RangeFlag, RangeWord } from './range.ts'

export const ATTEMPTS = 128
export const LEAST_ATTEMPTS = 16
const SYSTEM_PORTS = 1024
/** Ports below are what a server listens on, ports from EPHEMERAL on what a client sends from. */
const WELL_KNOWN = 16384
const EPHEMERAL = 32768

/** Unpredictable 16-bit numbers, drawn in bulk. */
export class RandomPorts {
  private readonly numbers = new Uint16Array(2048)
  private left = 0

  next(): number {
    if (this.left === 0) {
      randomFillSync(this.numbers)
      this.left = this.numbers.length
    }
    return this.numbers[--this.left]
  }
}

/** The ports a flow with port `own` may get: `min` and `size`. */
export class PortSpan {
  min = 0
  size = 0

  set(range: NatRange, proto: number, own: number): void {
    if ((range[RangeWord.Flags] & RangeFlag.Ports) !== 0) {
      this.min = range[RangeWord.MinPort]
      this.size = range[RangeWord.MaxPort] - this.min + 1
    } else if (isIcmp(proto)) {
      this.min = 0
      this.size = 65536
    } else if (own >= SYSTEM_PORTS) {
      this.min = SYSTEM_PORTS
      this.size = 65536 - SYSTEM_PORTS
    } else if (own < 512) {
      this.min = 1
      this.size = 511
    } else {
      this.min = 600
      this.size = 424
    }
  }
}

/**
 * A client that sends from a server's port to a client's port: kept, its translation would let the other
 * side's answers pass for new flows to the service on that port, or take over such flows (port shadowing,
 * CVE-2021-3773). It gets another port.
 */
export function shadows(srcPort: number, dstPort: number): boolean {
  return srcPort < WELL_KNOWN && dstPort >= EPHEMERAL
}
