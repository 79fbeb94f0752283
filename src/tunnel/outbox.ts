// HOT
/**
 * Encapsulated packets on their way to the sockets: rows of packet/layout.ts Send, sent together and accounted
 * for when the kernel has answered. A row's path is copied from its remote's row to `paths`, a small table that
 * stays in the cache; neighbours to the same remote share one, so that the addon can send them in one call.
 */
import { COUNTER_WORDS, Counter, drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { PATH_SHIFT, Path, SEND_SHIFT, Send } from '../packet/layout.ts'
import { COUNT_SHIFT, REMOTE_SHIFT, Remote, RemoteCount } from './tables.ts'

/** Rows at most. */
export const OUTBOX = 256
/** The first word of the header: the VNI is valid. */
const VALID = 0x08000000

/** What the kernel says of a packet it did not send (errno of Linux). */
const enum Errno {
  Perm = 1,
  Again = 11,
  BadMsg = 74,
  MsgSize = 90,
  AddrNotAvail = 99,
  NetDown = 100,
  NetUnreach = 101,
  NoBufs = 105,
  ConnRefused = 111,
  HostUnreach = 113,
}

export class Outbox {
  readonly sends = new Int32Array(OUTBOX << SEND_SHIFT)
  readonly paths = new Int32Array(OUTBOX << PATH_SHIFT)
  count = 0
  /** Packets the kernel found too long for their path, so far. */
  tooLong = 0
  /** Sends rows 0 .. count of `sends` and fills their results; -errno when none could be looked at. */
  transmit: (count: number) => number = () => -1
  private readonly remotes: Int32Array
  private readonly remoteCounters: Float64Array
  private readonly counters: Float64Array
  /** Row of the remote that each row goes to, the VXLAN port it came by, and its inner bytes. */
  private readonly rows = new Int32Array(OUTBOX)
  private readonly ports = new Int32Array(OUTBOX)
  private readonly lengths = new Int32Array(OUTBOX)
  private path = -1
  private pathRow = -1

  constructor(remotes: Int32Array, remoteCounters: Float64Array, counters: Float64Array) {
    this.remotes = remotes
    this.remoteCounters = remoteCounters
    this.counters = counters
  }

  /** Adds one packet to one remote. Sends what is there when it is full. */
  add(
    port: number,
    row: number,
    slot: number,
    tag: number,
    socket: number,
    tosTtl: number,
    header: number,
    length: number,
  ): void {
    if (this.count === OUTBOX) this.flush()
    const { sends } = this
    const i = this.count++
    if (this.pathRow !== row) this.setPath(row)
    const at = i << SEND_SHIFT
    sends[at + Send.Slot] = slot
    sends[at + Send.Path] = this.path
    sends[at + Send.Socket] = socket
    sends[at + Send.TosTtl] = tosTtl
    sends[at + Send.Header0] = VALID
    sends[at + Send.Header1] = header
    sends[at + Send.Result] = 0
    sends[at + Send.Tag] = tag
    this.rows[i] = row
    this.ports[i] = port
    this.lengths[i] = length
  }

  private setPath(row: number): void {
    const { paths, remotes } = this
    this.pathRow = row
    const to = ++this.path << PATH_SHIFT
    const from = row << REMOTE_SHIFT
    for (let word = 0; word < Path.Words - 1; word++) paths[to + word] = remotes[from + Remote.Family + word]
  }

  flush(): void {
    const { counters, lengths, ports, rows, sends, remoteCounters } = this
    const n = this.count
    if (n === 0) return
    this.count = 0
    this.path = -1
    this.pathRow = -1
    const failed = this.transmit(n)
    for (let i = 0; i < n; i++) {
      const result = failed < 0 ? failed : sends[(i << SEND_SHIFT) + Send.Result]
      if (result <= 0) {
        this.lose(ports[i], rows[i], -result)
        continue
      }
      const own = ports[i] * COUNTER_WORDS
      const of = rows[i] << COUNT_SHIFT
      counters[own + Counter.TxPackets]++
      counters[own + Counter.TxBytes] += lengths[i]
      remoteCounters[of + RemoteCount.TxPackets]++
      remoteCounters[of + RemoteCount.TxBytes] += result
    }
  }

  private lose(port: number, row: number, errno: number): void {
    const { counters } = this
    let of = RemoteCount.Refused
    switch (errno) {
      case Errno.MsgSize:
        of = RemoteCount.TooBig
        this.tooLong = (this.tooLong + 1) | 0
        drop(counters, port, Drop.TunnelTooBig)
        break
      case Errno.Again:
      case Errno.NoBufs:
        of = RemoteCount.NoRoom
        drop(counters, port, Drop.NoRoom)
        break
      case Errno.Perm:
      case Errno.AddrNotAvail:
      case Errno.NetDown:
      case Errno.NetUnreach:
      case Errno.ConnRefused:
      case Errno.HostUnreach:
        of = RemoteCount.Unreachable
        drop(counters, port, Drop.TunnelUnreachable)
        break
      case Errno.BadMsg:
        drop(counters, port, Drop.Malformed)
        break
      default:
        drop(counters, port, Drop.Refused)
    }
    this.remoteCounters[(row << COUNT_SHIFT) + of]++
  }
}
