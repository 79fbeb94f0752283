/**
 * What a server sends, and how it travels (RFC 2131 4.1):
 *
 *     giaddr         to the relay, port 67
 *     ciaddr         of an ACK: to the client's address, which it has
 *     broadcast bit  to everybody; so is a NAK, whatever the client says
 *     else           direct: to the new address at the client's MAC; nobody can be asked for it by ARP yet
 */
import { DhcpMessage } from '../wire/dhcp.ts'
import { type Answer, type Request, writeAnswer } from './dhcp-message.ts'
import { type DhcpSettings, nakOptions, optionsOf } from './dhcp-settings.ts'

const BROADCAST = 0xffffffff
const BROADCAST_FLAG = 0x8000

export interface Reply {
  way: 'routed' | 'direct' | 'broadcast'
  dst: number
  dstPort: 67 | 68
  macHi: number
  macLo: number
  message: Uint8Array
  /** It grants a lease: send it when that is saved. */
  grants: boolean
}

/**
 * An OFFER or an ACK.
 * @param yiaddr 0, and leaseS 0: of an INFORM
 */
export function reply(
  settings: DhcpSettings,
  type: DhcpMessage.Offer | DhcpMessage.Ack,
  request: Request,
  yiaddr: number,
  leaseS: number,
  hostName: string,
): Reply {
  const options = optionsOf(settings, type, request, leaseS, hostName)
  const ciaddr = type === DhcpMessage.Ack ? request.ciaddr : 0
  const reached = ciaddr !== 0 || !request.broadcast
  const way = ciaddr !== 0 ? 'routed' : reached ? 'direct' : 'broadcast'
  const dst = ciaddr !== 0 ? ciaddr : reached ? yiaddr : BROADCAST
  const grants = leaseS > 0 && type === DhcpMessage.Ack
  return { ...made(settings, request, { ciaddr, yiaddr, options }, way, dst), grants }
}

export function nak(settings: DhcpSettings, request: Request, message: string): Reply {
  const options = nakOptions(settings, request, message)
  // Behind a relay the client has no address that is good there: the relay shall broadcast.
  const asked = request.giaddr === 0 ? request : { ...request, flags: request.flags | BROADCAST_FLAG }
  const answer = { ciaddr: 0, yiaddr: 0, options }
  return { ...made(settings, asked, answer, 'broadcast', BROADCAST), grants: false }
}

function made(
  settings: DhcpSettings,
  request: Request,
  answer: Answer,
  way: Reply['way'],
  dst: number,
): Omit<Reply, 'grants'> {
  const { giaddr, macHi, macLo, maxPacket } = request
  const message = writeAnswer(request, answer, Math.min(maxPacket, settings.linkMtu))
  if (giaddr !== 0) return { way: 'routed', dst: giaddr, dstPort: 67, macHi, macLo, message }
  return { way, dst, dstPort: 68, macHi, macLo, message }
}
