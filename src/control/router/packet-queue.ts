/**
 * What the library says about queues: the packets that a rule's QUEUE or NFQUEUE hands to a function
 * (`Fabric.queue`), and what the function may answer. queue-desk.ts carries them to and fro.
 *
 *     await fabric.queue('edge', 5, ({ packet }) => (packet.length > 1000 ? 'drop' : 'accept'))
 */

export type ConnectionState = 'INVALID' | 'ESTABLISHED' | 'RELATED' | 'NEW' | 'UNTRACKED'

/** A packet that a rule has queued. */
export interface QueuedPacket {
  router: string
  queue: number
  hook: 'PREROUTING' | 'INPUT' | 'FORWARD' | 'OUTPUT' | 'POSTROUTING'
  family: 4 | 6
  /** Interfaces of the router; null = none, or not known yet at this hook. */
  in: string | null
  out: string | null
  /** netfilter's mark, 32 bits. */
  mark: number
  /** Null: connections are not tracked, or not at this place. */
  state: ConnectionState | null
  /** Wall clock. */
  seconds: number
  nanos: number
  /** From the IP header on: a copy, of at most `bytes` (QueueOptions). */
  packet: Buffer
  /** Bytes of the whole packet. */
  length: number
  /** A super-frame's payload per segment; its transport checksum is not made yet. 0 = a packet like any other. */
  segmentSize: number
}

/**
 * What becomes of a packet. accept: it goes on behind the table the rule is in. repeat: once more through that
 * table. `packet`: other bytes instead, from the IP header on; lengths and checksums are put right.
 */
export type QueueDecision =
  | 'accept'
  | 'drop'
  | 'repeat'
  | { verdict: 'accept' | 'repeat'; mark?: number; packet?: Uint8Array }

export type QueueFunction = (packet: QueuedPacket) => QueueDecision | Promise<QueueDecision>

export interface QueueOptions {
  /** For a packet that was not answered, or had no room. Default 'drop'. */
  verdict?: 'accept' | 'drop'
  /** 1 to 30000, default 1000. */
  timeoutMs?: number
  /** Most packets that wait for an answer: 1 to 256, default 128; of all queues of a router 256. */
  length?: number
  /** Most bytes of each packet that are copied; 1 to 65575, default all. Less, and it cannot be changed. */
  bytes?: number
}

export interface QueueStats {
  queued: number
  answered: number
  /** Not answered in time, or their interface went away. */
  timedOut: number
  /** There was no room for. */
  full: number
}

/** A registered function. */
export interface PacketQueue {
  readonly router: string
  readonly number: number
  /** It gets nothing any more: closed, or the router is gone. */
  readonly closed: boolean
  stats(): QueueStats
  /** Ends it; packets that wait get the queue's verdict. */
  close(): Promise<void>
}
