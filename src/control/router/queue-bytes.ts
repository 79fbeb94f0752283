/**
 * Packets of a queue as its function sees and changes them: from the IP header on, with checksums as they would
 * be on the wire. Of a super-frame the transport checksum is not made before it is cut up.
 */
import * as checksum from '../../wire/checksum.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import * as extension from '../../wire/ipv6-extension.ts'
import * as l4 from '../../wire/l4.ts'

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Finishes, in place, the checksum that was left to a device: from `start` on, stored `offset` behind it. */
export function finishChecksum(packet: Uint8Array, start: number, offset: number): void {
  if (start < 0 || start + offset + 2 > packet.length) return
  const view = viewOf(packet)
  const sum = checksum.checksumOf(view, start, packet.length - start, 0)
  view.setUint16(start + offset, sum === 0 ? 0xffff : sum)
}

/**
 * A copy of `packet` with all its checksums right, and its length field.
 * @param partial the transport's is left to the device: a super-frame
 * @throws RangeError when it is no IP packet of this family
 */
export function withChecksums(packet: Uint8Array, family: 4 | 6, partial: boolean): Uint8Array {
  const bytes = Uint8Array.from(packet)
  const view = viewOf(bytes)
  const { length } = bytes
  if (length > 65535 + (family === 6 ? ipv6.SIZE : 0)) throw new RangeError(`a packet of ${length} bytes`)
  if (length < (family === 4 ? ipv4.SIZE : ipv6.SIZE) || view.getUint8(0) >> 4 !== family)
    throw new RangeError(`the bytes are no IPv${family} packet`)
  const found = family === 4 ? transport4(view, length) : transport6(view, length)
  if (found === null) return bytes
  const { at, pseudo, protocol } = found
  if (protocol === ipv4.Protocol.Icmp) {
    if (length >= at + 4) checksum.fill(view, at, length - at, at + 2, 0, 0)
  } else if (protocol === ipv4.Protocol.Icmpv6) {
    if (length >= at + 4) checksum.fill(view, at, length - at, at + 2, pseudo, 0)
  } else {
    if (protocol === ipv4.Protocol.Udp && length >= at + 6 && !partial) view.setUint16(at + 4, length - at)
    const place = l4.sumPlace(protocol, at, length)
    if (place >= 0) checksum.fill(view, at, length - at, place, pseudo, l4.sumMode(protocol, partial))
  }
  return bytes
}

interface Transport {
  at: number
  protocol: number
  pseudo: number
}

/** Null: there is none to be seen, as in a fragment. */
function transport4(view: DataView, length: number): Transport | null {
  const at = ipv4.headerLength(view, 0)
  if (at < ipv4.SIZE || at > length) throw new RangeError('the IPv4 header is cut short')
  view.setUint16(2, length)
  view.setUint16(10, 0)
  view.setUint16(10, checksum.checksumOf(view, 0, at, 0))
  if (ipv4.isFragment(view, 0)) return null
  const protocol = ipv4.protocol(view, 0)
  return { at, protocol, pseudo: checksum.pseudo4(view, 0, protocol, length - at) }
}

function transport6(view: DataView, length: number): Transport | null {
  view.setUint16(4, length - ipv6.SIZE)
  const found = new Int32Array(extension.Walk.Words)
  if (extension.walk(view, 0, length, found) !== extension.WalkResult.Ok) return null
  const at = found[extension.Walk.L4]
  if (found[extension.Walk.Fragment] >= 0 || at < 0) return null
  const protocol = found[extension.Walk.Protocol]
  return { at, protocol, pseudo: checksum.pseudo6(view, 0, protocol, length - at) }
}
