/** Frames on the wire of real devices, and captures as tshark reads them. */
import { execFileSync } from 'node:child_process'
import { existsSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { native } from '../../src/native.ts'

/** Sends frames out of a device, as its host's kernel would. `netns`: path of the namespace's file. */
export function sendFrames(netns: string, device: string, frames: Uint8Array[]): void {
  const { fd } = native.openPacket({ netns, name: device, vnetHdr: false })
  try {
    for (const frame of frames) writeSync(fd, frame)
  } finally {
    native.close(fd)
  }
}

/** Writes a capture file: classic pcap, one frame a millisecond. */
export function writePcap(path: string, frames: Uint8Array[]): void {
  const head = Buffer.alloc(24)
  head.writeUInt32LE(0xa1b2c3d4, 0)
  head.writeUInt16LE(2, 4)
  head.writeUInt16LE(4, 6)
  head.writeUInt32LE(262144, 16)
  head.writeUInt32LE(1, 20)
  const records = frames.flatMap((frame, i) => {
    const record = Buffer.alloc(16)
    record.writeUInt32LE(1_700_000_000, 0)
    record.writeUInt32LE(1000 * i, 4)
    record.writeUInt32LE(frame.length, 8)
    record.writeUInt32LE(frame.length, 12)
    return [record, frame]
  })
  writeFileSync(path, Buffer.concat([head, ...records]))
}

/** Waits until a capture has begun: its file has a head. */
export async function begun(path: string): Promise<void> {
  for (let waited = 0; waited < 10_000; waited += 20) {
    if (existsSync(path) && statSync(path).size > 0) return
    await sleep(20)
  }
  throw new Error(`no capture began to write ${path}`)
}

/** One line per frame, its fields separated by tabs. A file that is still being written is read as far as it goes. */
export function tshark(path: string, ...fields: string[]): string[] {
  const args = ['-n', '-r', path, '-T', 'fields', ...fields.flatMap((f) => ['-e', f])]
  let text: string
  try {
    text = execFileSync('tshark', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    text = (error as { stdout?: string }).stdout ?? ''
  }
  return text.split('\n').slice(0, -1)
}
