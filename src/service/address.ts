/** IPv4 addresses as unsigned numbers: pools count through them, and Maps are keyed by them. */

/** -1 = not one. */
export function ipv4Bits(text: string): number {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (!parts) return -1
  const bytes = parts.slice(1).map(Number)
  return bytes.some((b) => b > 255) ? -1 : bytes.reduce((sum, b) => sum * 256 + b, 0)
}

export function maskOf(length: number): number {
  return length === 0 ? 0 : (-1 << (32 - length)) >>> 0
}

export function sameNet(a: number, b: number, length: number): boolean {
  return ((a ^ b) & maskOf(length)) === 0
}
