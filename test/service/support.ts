/** A DHCP server with a clock moved by hand, and clients that speak to it in bytes. */
import { readOptions } from '../../src/service/dhcp-message.ts'
import type { Reply } from '../../src/service/dhcp-reply.ts'
import { DhcpServer } from '../../src/service/dhcp-server.ts'
import type { DhcpSettings } from '../../src/service/dhcp-settings.ts'
import * as dhcp from '../../src/wire/dhcp.ts'
import { DhcpMessage, DhcpOption } from '../../src/wire/dhcp.ts'
import { ip4 } from '../support/frames.ts'

export const addr = (text: string): number => ip4(text) >>> 0
export const OURS = addr('10.0.0.1')

export const SETTINGS: DhcpSettings = {
  serverId: OURS,
  length: 24,
  pool: [[addr('10.0.0.100'), addr('10.0.0.103')]],
  reservations: [],
  excluded: [OURS],
  router: OURS,
  dns: [addr('192.0.2.53')],
  domain: 'lab.example',
  mtu: 1400,
  linkMtu: 1500,
  routes: [],
  leaseS: 3600,
  probeMs: 0,
}

export interface Asked {
  mac?: number
  clientId?: string
  ciaddr?: string
  giaddr?: string
  requested?: string
  serverId?: string
  wants?: number[]
  broadcast?: boolean
  toUs?: boolean
  src?: string
  xid?: number
  /** More options, as bytes. */
  more?: number[]
}

/** The bytes of a client's message. */
export function message(type: number, asked: Asked = {}): Uint8Array {
  const bytes = new Uint8Array(548)
  const view = new DataView(bytes.buffer)
  const { mac = 10, xid = 0x1234, broadcast = false } = asked
  dhcp.write(view, 0, dhcp.DhcpOp.Request, xid, broadcast ? 0x8000 : 0, 0x0200, mac)
  const word = (text: string | undefined) => (text === undefined ? 0 : ip4(text))
  dhcp.setAddrs(view, 0, word(asked.ciaddr), 0, 0, word(asked.giaddr))
  let at = dhcp.writeOption8(view, dhcp.SIZE, DhcpOption.MessageType, type)
  if (asked.requested) at = dhcp.writeOption32(view, at, DhcpOption.RequestedAddress, word(asked.requested))
  if (asked.serverId) at = dhcp.writeOption32(view, at, DhcpOption.ServerId, word(asked.serverId))
  const put = (code: number, value: ArrayLike<number>): void => {
    bytes.set([code, value.length, ...Array.from(value)], at)
    at += 2 + value.length
  }
  if (asked.clientId) put(DhcpOption.ClientId, Buffer.from(asked.clientId, 'hex'))
  if (asked.wants) put(DhcpOption.ParameterList, asked.wants)
  bytes.set(asked.more ?? [], at)
  at += asked.more?.length ?? 0
  return bytes.subarray(0, dhcp.writeEnd(view, 0, at))
}

export interface Answer extends Reply {
  type: number
  yiaddr: string
  view: DataView
  option(code: number): number[] | null
}

export class Lab {
  now = 1_000_000
  readonly warnings: string[] = []
  readonly server: DhcpServer

  constructor(settings: Partial<DhcpSettings> = {}) {
    this.server = new DhcpServer({ ...SETTINGS, ...settings }, (text) => this.warnings.push(text))
  }

  /** Sends a message; what the server answers, or null. */
  ask(type: number, asked: Asked = {}): Answer | null {
    const { toUs = false, src = '0.0.0.0' } = asked
    this.server.receive(message(type, asked), toUs, addr(src), this.now)
    return this.answer()
  }

  answer(): Answer | null {
    const reply = this.server.answers.shift()
    if (!reply) return null
    const { message: bytes } = reply
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const options = readOptions(bytes)!
    return {
      ...reply,
      view,
      type: dhcp.messageType(view, 0, bytes.length),
      yiaddr: text(dhcp.yourAddr(view, 0)),
      option: (code) => (options.has(code) ? [...options.get(code)!] : null),
    }
  }

  discover = (asked: Asked = {}) => this.ask(DhcpMessage.Discover, asked)
  request = (asked: Asked = {}) => this.ask(DhcpMessage.Request, asked)
  select = (requested: string, asked: Asked = {}) =>
    this.request({ requested, serverId: '10.0.0.1', ...asked })

  /** DISCOVER, OFFER, REQUEST, ACK: the address. */
  lease(asked: Asked = {}): string {
    const offer = this.discover(asked)
    const ack = offer && this.select(offer.yiaddr, asked)
    return ack?.type === DhcpMessage.Ack ? ack.yiaddr : ''
  }
}

export function text(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.')
}
