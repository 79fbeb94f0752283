/** The addon's Io with UDP sockets that are two functions: what the VTEPs of an engine in a test stand on. */
import type { Engine } from '../../src/engine/engine.ts'
import type { Io, UdpAttachment } from '../../src/native.ts'

export class FakeSockets {
  /** What the VTEP attached: its rows. */
  attached!: UdpAttachment

  /**
   * @param rx fills slots of the engine's batch from `from` on, `max` at most; how many
   * @param tx sends the rows `at .. at + count` of `attached.sends`, and fills their Result; how many, or -errno
   */
  constructor(
    engine: Engine,
    rx: (from: number, max: number) => number,
    tx: (at: number, count: number) => number,
  ) {
    const real = engine.io
    const io: Io = {
      attach: real.attach.bind(real),
      attachUdp: (attached) => {
        this.attached = attached
        return 1000
      },
      detach() {},
      update() {},
      rx: (_device, from, max) => rx(from, max),
      tx: (_device, at, count) => tx(at, count),
      wait: () => 0,
      tick() {},
      close: () => real.close(),
    }
    ;(engine as { io: Io }).io = io
  }
}
