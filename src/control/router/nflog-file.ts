/**
 * The packets of one NFLOG group as a pcapng file: an interface for each of the router's that they came by (or
 * left by, in OUTPUT and POSTROUTING), the rule's prefix as comment. A file that is there already is gone on
 * with in a section of its own, so nothing of it is lost; only its owner may read a new one.
 */
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import type { Recorded } from '../../filter/program/log-line.ts'
import { LogRecord } from '../../filter/program/report.ts'
import { Hook } from '../../packet/hooks.ts'
import { Flag } from '../../packet/layout.ts'
import { PcapngWriter } from '../capture/pcapng.ts'

const MODE = 0o600
/** Bytes kept while the file cannot be written. */
const MOST_WAITING = 1 << 23
const SECTION_HEAD = 0x0a0d0d0a

export class NflogFile {
  readonly path: string
  maxBytes: number
  private readonly fd: number
  private readonly writer: PcapngWriter
  /** By name, and whether frames have Ethernet. */
  private readonly interfaces = new Map<string, number>()
  private blocks: Buffer[] = []
  private packets = 0
  private bytes: number
  private waiting = 0
  private full = false
  private complained = ''

  /** @throws Error when it cannot be written, or is something else */
  constructor(path: string, maxBytes: number) {
    this.path = path
    this.maxBytes = maxBytes
    try {
      // Not blocking: a FIFO that nobody reads must not keep the control thread.
      const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK
      this.fd = openSync(path, flags, MODE)
    } catch (error) {
      throw new Error(`cannot write the NFLOG file: ${(error as Error).message}`)
    }
    try {
      this.bytes = sizeOf(this.fd, path)
    } catch (error) {
      closeSync(this.fd)
      throw error
    }
    this.writer = new PcapngWriter((block) => {
      this.blocks.push(block)
      this.waiting += block.length
    })
  }

  /** Keeps one packet for `flush`. */
  put({ bytes, words }: Recorded, nameOf: (index: number) => string, prefix: string): void {
    if (this.bytes + this.waiting >= this.maxBytes) {
      this.full = true
      return
    }
    if (this.waiting > MOST_WAITING) return
    const hook = words[LogRecord.Hook] & 0xff
    const leaves = hook === Hook.Output || hook === Hook.Postrouting
    const noEthernet = (words[LogRecord.Flags] & Flag.NoEthernet) !== 0
    const name = nameOf(words[leaves ? LogRecord.OutIf : LogRecord.InIf]) || 'router'
    const frame = {
      direction: leaves ? ('out' as const) : ('in' as const),
      seconds: words[LogRecord.Seconds] >>> 0,
      nanos: words[LogRecord.Nanos],
      length: Math.max(bytes.length, words[LogRecord.L3] + words[LogRecord.Length]),
      flags: words[LogRecord.Flags],
      gsoSize: words[LogRecord.GsoSize],
      bytes,
    }
    this.writer.packet(this.interfaceId(name, noEthernet), frame, prefix)
    this.packets++
  }

  private interfaceId(name: string, noEthernet: boolean): number {
    const key = `${name} ${noEthernet}`
    const known = this.interfaces.get(key)
    if (known !== undefined) return known
    const id = this.writer.interface({ name, noEthernet })
    this.interfaces.set(key, id)
    return id
  }

  /** Writes what was put. A sentence when that fails, or the file is full; once for each of them. */
  flush(): string | null {
    if (this.packets > 0 && !this.write()) return this.complain(`cannot write ${this.path}: ${this.why}`)
    if (!this.full) return null
    return this.complain(`${this.path} has its ${this.maxBytes} bytes: later packets are not kept`)
  }

  private why = ''

  private write(): boolean {
    let left = Buffer.concat(this.blocks)
    try {
      while (left.length > 0) {
        const written = writeSync(this.fd, left)
        this.bytes += written
        left = left.subarray(written)
      }
      this.packets = 0
      if (!this.full) this.complained = ''
      return true
    } catch (error) {
      this.why = (error as Error).message
      return false
    } finally {
      // The next time goes on in the middle of a block, if it must.
      this.blocks = [left]
      this.waiting = left.length
    }
  }

  private complain(text: string): string | null {
    if (this.complained === text) return null
    this.complained = text
    return text
  }

  close(): void {
    this.flush()
    closeSync(this.fd)
  }
}

/** Bytes of the file. @throws Error when it is not empty and no pcapng file */
function sizeOf(fd: number, path: string): number {
  const stat = fstatSync(fd)
  if (!stat.isFile()) throw new Error(`cannot write the NFLOG file: ${path} is no plain file`)
  if (stat.size === 0) return 0
  const head = Buffer.alloc(4)
  if (readSync(fd, head, 0, 4, 0) < 4 || head.readUInt32LE() !== SECTION_HEAD)
    throw new Error(`cannot write the NFLOG file: ${path} is there and no pcapng file`)
  return stat.size
}
