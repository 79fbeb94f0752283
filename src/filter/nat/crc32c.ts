// HOT
/**
 * The checksum of SCTP (RFC 9260 6.8, appendix A): CRC-32C, reflected, over the packet with the field itself
 * as zeros. The value is stored with its low byte first.
 */
const POLYNOMIAL = 0x82f63b78
const FIELD = 8
const FIELD_END = 12

const TABLE = new Int32Array(256)
for (let i = 0; i < 256; i++) {
  let c = i
  for (let bit = 0; bit < 8; bit++) c = (c & 1) !== 0 ? (c >>> 1) ^ POLYNOMIAL : c >>> 1
  TABLE[i] = c
}

/** Of the SCTP packet of `length` bytes at `at`. */
export function sctpChecksum(bytes: Uint8Array, at: number, length: number): number {
  let c = -1
  for (let i = 0; i < length; i++) {
    const byte = i >= FIELD && i < FIELD_END ? 0 : bytes[at + i]
    c = TABLE[(c ^ byte) & 255] ^ (c >>> 8)
  }
  return ~c >>> 0
}
