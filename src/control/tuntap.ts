/**
 * `Tap` and `Tun`: a device as a Duplex stream, one frame (or IP packet) per chunk, shaped like the
 * tuntap2 package's classes for those who had used it:
 *
 *     const tun = new Tun()
 *     tun.mtu = 1400
 *     tun.ipv4 = '10.0.0.100/24'
 *     tun.isUp = true
 *     tun.on('data', (packet) => ...)
 *     tun.write(packet)
 *     tun.release()
 *
 * What differs: reading a property needs no device that is up; there is one data plane thread for all
 * of them, so neither libuv's thread pool nor a blocked read can hold the process; `netns` is an option.
 */
import { execFileSync } from 'node:child_process'
import { Duplex } from 'node:stream'
import { netnsPath } from '../config/netns.ts'
import { native, type TapDevice } from '../native.ts'
import { MAX_FRAME } from '../packet/layout.ts'
import { formatMac, parseMac } from './devices.ts'
import { closeTap, joinStream, type StreamWire } from './stream-plane.ts'

export interface TuntapOptions {
  /** At most 15 bytes; '' or with %d: the kernel chooses (default tap%d, tun%d). */
  name?: string
  /** Name, path or pid of a network namespace; default: the process's own. */
  netns?: string
}

/** How long a write waits before it tries a full queue again, ms. */
const RETRY_MS = 1
/** Frames kept for a reader that is slow. */
const READ_AHEAD = 256

class Tuntap extends Duplex {
  readonly isTun: boolean
  private readonly device: TapDevice
  private readonly netns: string
  private readonly wire: StreamWire

  protected constructor(tun: boolean, options: TuntapOptions) {
    super({ readableObjectMode: true, readableHighWaterMark: READ_AHEAD, decodeStrings: true })
    this.isTun = tun
    this.netns = netnsPath(options.netns ?? '')
    const name = options.name ?? (tun ? 'tun%d' : 'tap%d')
    this.device = native.openTap({ netns: this.netns, name, tun })
    try {
      this.wire = joinStream(this.device, tun, (error) => this.destroy(error))
    } catch (error) {
      closeTap(this.device)
      throw error
    }
    // A stream nobody reads must not grow: frames beyond the high-water mark are dropped, as a NIC does.
    this.wire.exchange.on('frame', (frame) => {
      if (this.readableLength < this.readableHighWaterMark) this.push(frame)
    })
  }

  /** The kernel's name of the device. */
  get name(): string {
    return this.device.name
  }

  get isTap(): boolean {
    return !this.isTun
  }

  private link() {
    const link = native.readLink(this.netns, this.name)
    if (!link) throw new Error(`device ${this.name} is gone`)
    return link
  }

  /** Whether the device is set up. Set it to true after the addresses. */
  get isUp(): boolean {
    return this.link().up
  }
  set isUp(up: boolean) {
    native.changeLink(this.netns, this.name, { up })
  }

  /** 'aa:bb:cc:dd:ee:ff'. A TUN has none: reading gives '', setting throws. */
  get mac(): string {
    const { mac } = this.link()
    return mac ? formatMac(mac) : ''
  }
  set mac(mac: string) {
    if (this.isTun) throw new Error('a TUN carries no Ethernet and has no MAC address')
    if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) throw new TypeError(`not a MAC address: ${mac}`)
    native.changeLink(this.netns, this.name, { mac: parseMac(mac) })
  }

  /** Bytes, 68 to 65521. */
  get mtu(): number {
    return this.link().mtu
  }
  set mtu(mtu: number) {
    native.changeLink(this.netns, this.name, { mtu })
  }

  /** The first address, 'a.b.c.d/len', or ''. Setting replaces it. */
  get ipv4(): string {
    return this.addresses('inet')[0] ?? ''
  }
  set ipv4(cidr: string) {
    this.setAddress('inet', cidr)
  }

  /** The first address that is not link-local, or ''. Setting replaces it. */
  get ipv6(): string {
    return this.addresses('inet6')[0] ?? ''
  }
  set ipv6(cidr: string) {
    this.setAddress('inet6', cidr)
  }

  private ip(...args: string[]): string {
    const [command, ...prefix] = this.netns === '' ? ['ip'] : ['nsenter', `--net=${this.netns}`, 'ip']
    try {
      return execFileSync(command, [...prefix, ...args], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      })
    } catch (error) {
      const said = (error as { stderr?: string }).stderr?.trim()
      throw new Error(`ip ${args.join(' ')}: ${said || (error as Error).message}`)
    }
  }

  private addresses(family: 'inet' | 'inet6'): string[] {
    const shown = JSON.parse(this.ip('-json', 'address', 'show', 'dev', this.name)) as {
      addr_info: { family: string; local: string; prefixlen: number; scope: string }[]
    }[]
    return (shown[0]?.addr_info ?? [])
      .filter((a) => a.family === family && a.scope !== 'link')
      .map((a) => `${a.local}/${a.prefixlen}`)
  }

  private setAddress(family: 'inet' | 'inet6', cidr: string): void {
    const v6 = family === 'inet6'
    if (!/^[0-9a-f.:]+\/\d{1,3}$/i.test(cidr) || cidr.includes(':') !== v6) {
      throw new TypeError(`not an IPv${v6 ? 6 : 4} address with a prefix length: ${cidr}`)
    }
    for (const old of this.addresses(family)) this.ip('address', 'del', old, 'dev', this.name)
    this.ip('address', 'add', cidr, 'dev', this.name, ...(v6 ? ['nodad'] : []))
  }

  override _read(): void {}

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.destroyed) done(new Error('the device was released'))
    else if (chunk.length === 0 || chunk.length > MAX_FRAME)
      done(new RangeError(`a frame of ${chunk.length} bytes: 1 to ${MAX_FRAME} expected`))
    else if (this.wire.exchange.send(chunk)) done()
    else setTimeout(() => this._write(chunk, encoding, done), RETRY_MS)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.wire.close().then(
      () => {
        closeTap(this.device)
        done(error)
      },
      (failure: Error) => {
        closeTap(this.device)
        done(error ?? failure)
      },
    )
  }

  /** Gives the device back; the kernel removes it. `callback` runs when it is gone. */
  release(callback?: (error?: Error | null) => void): void {
    if (callback) this.once('close', () => callback(this.errored))
    this.destroy()
  }
}

/** A layer-2 device: chunks are Ethernet frames. Needs CAP_NET_ADMIN. */
export class Tap extends Tuntap {
  constructor(options: TuntapOptions = {}) {
    super(false, options)
  }
}

/** A layer-3 device: chunks are IP packets. Needs CAP_NET_ADMIN. */
export class Tun extends Tuntap {
  constructor(options: TuntapOptions = {}) {
    super(true, options)
  }
}
