/** Packets in memory that ends where they end: reading one byte further throws. */
import { expect, test } from 'vitest'
import { random } from '../support/frames.ts'

export interface Laid {
  view: DataView
  at: number
  end: number
  bytes: Uint8Array
}

/** @param before bytes in front, so that a place is not an offset by accident */
export function lay(packet: Uint8Array, before = 5): Laid {
  const bytes = new Uint8Array(before + packet.length)
  bytes.set(packet, before)
  return { view: new DataView(bytes.buffer), at: before, end: bytes.length, bytes }
}

export function hex(text: string): Uint8Array {
  return Uint8Array.from(text.replaceAll(/\s/g, '').match(/../g) ?? [], (b) => Number.parseInt(b, 16))
}

/** `fits` says no to every packet cut short, and yes to the whole one. */
export function truncations(
  fits: (view: DataView, at: number, end: number) => boolean,
  packet: Uint8Array,
): void {
  for (let n = 0; n < packet.length; n++) {
    const { view, at, end } = lay(packet.subarray(0, n))
    if (fits(view, at, end)) throw new Error(`fits with ${n} of ${packet.length} bytes`)
  }
  const { view, at, end } = lay(packet)
  expect(fits(view, at, end)).toBe(true)
}

/**
 * Changes bytes of a good packet at random and cuts it, and reads everything there is to read behind `fits`.
 * A reader that leaves the packet throws a RangeError.
 */
export function mutations(name: string, packet: Uint8Array, read: (laid: Laid) => void, runs = 20_000): void {
  test(`${name}: random changes never lead outside`, () => {
    const r = random(1)
    for (let i = 0; i < runs; i++) {
      const bytes = packet.slice(0, r() % 4 === 0 ? r() % (packet.length + 1) : packet.length)
      for (let n = r() % 5; n > 0 && bytes.length > 0; n--)
        bytes[r() % bytes.length] = r() % 3 === 0 ? 255 : r()
      read(lay(bytes))
    }
  })
}
