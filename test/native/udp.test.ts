/** UDP tunnels as TypeScript sees them: arguments, errors, the loop. What crosses: native/test/udp_test.cc. */
import { afterEach, describe, expect, test } from 'vitest'
import { type IoArrays, native, type UdpAttachment, type UdpRequest } from '../../src/native.ts'
import { Clock, HEADROOM, Info, Meta, Path, Send, SLOT_SIZE, TxResult } from '../../src/packet/layout.ts'

const SLOTS = 8
const fds: number[] = []
afterEach(() => {
  for (const fd of fds.splice(0)) native.close(fd)
})

function open(request: Partial<UdpRequest> = {}): { fd: number; port: number } {
  const socket = native.openUdp({ family: 4, local: '127.0.0.1', ...request })
  fds.push(socket.fd)
  return socket
}

const arrays = (): IoArrays => ({
  pool: new Uint8Array(SLOT_SIZE * SLOTS),
  meta: new Int32Array(Meta.Words * SLOTS),
  rx: Int32Array.from({ length: SLOTS }, (_, i) => i),
  txq: new Int32Array(4),
  events: new Int32Array(8),
  clock: new Float64Array(Clock.Words),
  txResult: new Int32Array(TxResult.Words),
})
const attachment = (...sockets: number[]): UdpAttachment => ({
  fds: sockets,
  sends: new Int32Array(Send.Words * SLOTS),
  paths: new Int32Array(Path.Words),
  info: new Int32Array(Info.Words * SLOTS),
  header: 8,
})
const code = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    return (error as { code: string }).code
  }
  return ''
}

describe('attachUdp', () => {
  test('a datagram leaves one tunnel, wakes the other, and is told with its sender', () => {
    const memory = arrays()
    const io = new native.Io(memory)
    const [a, b] = [open({ receive: false }), open()]
    const [from, to] = [attachment(a.fd), attachment(b.fd)]
    const [sender, receiver] = [io.attachUdp(from, 3), io.attachUdp(to, 4)]
    from.paths.set([4, 0x7f000001, 0, 0, 0, b.port, 0])
    memory.pool.fill(7, HEADROOM, HEADROOM + 60)
    memory.meta.set([HEADROOM, 60], 0)
    from.sends.set([0, 0, 0, 64 << 8, 0x08000000, 0x123456 << 8, 0, 0])
    expect(io.tx(sender, 0, 1)).toBe(1)
    expect(from.sends[Send.Result]).toBe(68)
    expect([...memory.txResult.subarray(0, 2)]).toEqual([1, 68])
    expect(io.wait(1000, 0)).toBe(1)
    expect(memory.events[0]).toBe(4)
    expect(io.rx(receiver, 1, SLOTS - 1, 1 << 20)).toBe(1)
    const at = SLOT_SIZE + HEADROOM
    expect([...memory.pool.subarray(at, at + 9)]).toEqual([8, 0, 0, 0, 0x12, 0x34, 0x56, 0, 7])
    expect([...memory.meta.subarray(Meta.Words, Meta.Words + 3)]).toEqual([HEADROOM, 68, 4])
    expect([...to.info.subarray(Info.Words, 2 * Info.Words)]).toEqual([4, 0x7f000001, 0, 0, 0, a.port, 0, 0])
    io.detach(receiver)
    expect(io.rx(receiver, 0, 1, 1)).toBeLessThan(0)
    expect(io.tx(receiver, 0, 1)).toBeLessThan(0)
    expect(io.attachUdp(to, 5)).toBe(receiver) // the number and the socket are free again
    io.close()
  })

  test('refuses what is no tunnel', () => {
    const io = new native.Io(arrays())
    const { fd } = open()
    const good = attachment(fd)
    for (const name of ['sends', 'paths', 'info'] as const)
      expect(() => io.attachUdp({ ...good, [name]: new Uint8Array(64) } as never, 1), name).toThrow(TypeError)
    expect(() => io.attachUdp({ ...good, fds: undefined } as never, 1)).toThrow(TypeError)
    for (const receivers of [0, 2, -1])
      expect(() => io.attachUdp({ ...good, receivers }, 1)).toThrow(RangeError)
    expect(() => io.attachUdp({ ...good, fds: [] }, 1)).toThrow(RangeError)
    expect(() => io.attachUdp({ ...good, header: 16 }, 1)).toThrow(RangeError)
    expect(() => io.attach(fd, 3, 0, 0, 1)).toThrow(RangeError)
    const eventfd = native.eventfd()
    fds.push(eventfd)
    expect(code(() => io.attachUdp(attachment(eventfd), 1))).toBe('ENOTSOCK')
    // All receivers or none: the first is not left behind when the second is refused.
    const other = open()
    io.attachUdp(attachment(other.fd), 1)
    expect(code(() => io.attachUdp({ ...attachment(fd, other.fd), receivers: 2 }, 1))).toBe('EEXIST')
    io.attachUdp(good, 1)
    io.close()
  })

  test('a table too small for the batch is no reason to write behind it', () => {
    const memory = arrays()
    const io = new native.Io(memory)
    const device = io.attachUdp({ ...attachment(open().fd), info: new Int32Array(Info.Words * 2) }, 1)
    expect(io.rx(device, 0, 2, 1 << 20)).toBe(0)
    expect(io.rx(device, 0, 3, 1 << 20)).toBeLessThan(0)
    expect(io.rx(device, 2, 1, 1 << 20)).toBeLessThan(0)
    expect(io.tx(device, 0, SLOTS + 1)).toBeLessThan(0)
    io.close()
  })
})

describe('openUdp', () => {
  test('says in code and words why it cannot', () => {
    const { port } = open()
    expect(code(() => open({ port }))).toBe('EADDRINUSE')
    expect(code(() => open({ local: '192.0.2.77' }))).toBe('EADDRNOTAVAIL')
    expect(code(() => open({ device: 'no-such' }))).toBe('ENODEV')
    expect(code(() => open({ local: 'x' }))).toBe('EINVAL')
    expect(() => open({ port })).toThrow(`cannot bind to 127.0.0.1 port ${port}`)
    expect(() => open({ family: 5 as never })).toThrow(RangeError)
    expect(() => open({ ttl: 0 })).toThrow(RangeError)
    expect(() => open({ tos: 256 })).toThrow(RangeError)
  })

  test('what the kernel knows of sockets and paths', () => {
    const { fd } = open()
    expect(native.socketDrops(fd)).toBe(0)
    expect(native.pathMtu('', '', '127.0.0.1')).toBeGreaterThan(1279)
    expect(code(() => native.pathMtu('', '', 'nowhere'))).toBe('EINVAL')
    expect(code(() => native.joinGroup(fd, '239.1.1.1', 'no-such'))).toBe('ENODEV')
    expect(code(() => native.joinGroup(fd, '10.0.0.1', 'lo'))).toBe('EINVAL')
    expect(code(() => native.socketDrops(-1))).toBe('EBADF')
  })
})
