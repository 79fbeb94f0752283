/** The memory layout is written down twice, in TypeScript and in C++: every number must be the same. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { native } from '../../src/native.ts'
import { COUNTER_WORDS, Counter } from '../../src/packet/counters.ts'
import { DROP_COUNT, DROPS } from '../../src/packet/drop.ts'
import * as layout from '../../src/packet/layout.ts'

const { Meta, Flag, Gso, Offload, Clock, TxResult, Send, Path, Info } = layout

const here: Record<string, number> = {
  kSlotSize: layout.SLOT_SIZE,
  kHeadroom: layout.HEADROOM,
  kMaxVnetHeader: layout.MAX_VNET_HEADER,
  kHead: Meta.Head,
  kLen: Meta.Len,
  kPort: Meta.Port,
  kFlags: Meta.Flags,
  kGsoType: Meta.GsoType,
  kGsoSize: Meta.GsoSize,
  kHdrLen: Meta.HdrLen,
  kCsumStart: Meta.CsumStart,
  kCsumOffset: Meta.CsumOffset,
  kStrip: Meta.Strip,
  kTci: Meta.Tci,
  kRemote: Meta.Remote,
  kMetaWords: Meta.Words,
  kCsumPartial: Flag.CsumPartial,
  kCsumVerified: Flag.CsumVerified,
  kGsoEcn: Flag.GsoEcn,
  kTaken: Flag.Taken,
  kNoEthernet: Flag.NoEthernet,
  kLoose: Flag.Loose,
  kGsoNone: Gso.None,
  kGsoTcp4: Gso.Tcp4,
  kGsoTcp6: Gso.Tcp6,
  kGsoUdp: Gso.Udp,
  kOffCsum: Offload.Csum,
  kOffTso4: Offload.Tso4,
  kOffTso6: Offload.Tso6,
  kOffEcn: Offload.Ecn,
  kOffUso: Offload.Uso,
  kMonotonicMs: Clock.MonotonicMs,
  kWallSeconds: Clock.WallSeconds,
  kWallNanos: Clock.WallNanos,
  kClockWords: Clock.Words,
  kSent: TxResult.Sent,
  kSentBytes: TxResult.SentBytes,
  kNoRoom: TxResult.NoRoom,
  kRefused: TxResult.Refused,
  kDown: TxResult.Down,
  kMalformed: TxResult.Malformed,
  kErrno: TxResult.Errno,
  kTxWords: TxResult.Words,
  kSendSlot: Send.Slot,
  kSendPath: Send.Path,
  kSendSocket: Send.Socket,
  kSendTosTtl: Send.TosTtl,
  kSendHeader0: Send.Header0,
  kSendHeader1: Send.Header1,
  kSendResult: Send.Result,
  kSendTag: Send.Tag,
  kSendWords: Send.Words,
  kPathFamily: Path.Family,
  kPathAddress0: Path.Address0,
  kPathPort: Path.Port,
  kPathScope: Path.Scope,
  kPathWords: Path.Words,
  kInfoFamily: Info.Family,
  kInfoAddress0: Info.Address0,
  kInfoPort: Info.Port,
  kInfoTos: Info.Tos,
  kInfoFlags: Info.Flags,
  kInfoWords: Info.Words,
}

test('both languages agree on every number of the layout', () => {
  expect(native.layout()).toEqual(here)
})

test('the numbers fit each other', () => {
  expect(1 << layout.META_SHIFT).toBe(Meta.Words)
  expect(1 << layout.SEND_SHIFT).toBe(Send.Words)
  expect(1 << layout.PATH_SHIFT).toBe(Path.Words)
  expect(1 << layout.INFO_SHIFT).toBe(Info.Words)
  expect(layout.MAX_FRAME).toBe(layout.SLOT_SIZE - layout.HEADROOM)
  // A 64 KiB packet behind an Ethernet header and two tags, and an odd number of cache lines.
  expect(layout.MAX_FRAME).toBeGreaterThanOrEqual(65535 + 14 + 8)
  expect(layout.SLOT_SIZE % 128).toBe(64)
  expect(layout.HEADROOM).toBeGreaterThanOrEqual(layout.MAX_VNET_HEADER)
})

test('every drop reason has a name of its own and room among the counters', () => {
  expect(DROPS.length).toBe(DROP_COUNT)
  expect(new Set(DROPS.map(([name]) => name)).size).toBe(DROP_COUNT)
  expect(Counter.Drops + DROP_COUNT).toBeLessThanOrEqual(COUNTER_WORDS)
  // A const enum leaves nothing to look at when the program runs: read the source.
  const source = readFileSync(new URL('../../src/packet/drop.ts', import.meta.url), 'utf8')
  const names = [.../const enum Drop \{([^}]*)\}/.exec(source)![1].matchAll(/^ {2}(\w+)/gm)].map((m) => m[1])
  expect(names.length).toBe(DROP_COUNT)
  const kebab = names.map((name) => name.replace(/(?!^)[A-Z]/g, '-$&').toLowerCase())
  expect(DROPS.map(([name]) => name)).toEqual(kebab)
})
