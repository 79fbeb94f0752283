/** The underlay TAP: when it is said to lose packets, and what an operator is told who cannot have one. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { parseConfig } from '../../../src/config/load.ts'
import { systemProblems } from '../../../src/config/system.ts'
import { LiveUnderlay } from '../../../src/control/tunnel/underlay.ts'
import { native } from '../../../src/native.ts'

/** What each look finds, when so many were handed over and forwarded since the one before. */
function looks(...steps: [handed: number, forwarded: number][]): boolean[] {
  const count = { handed: 100, forwarded: 5000 }
  const underlay = new LiveUnderlay(-1, 'underlay0', () => ({ ...count }))
  return steps.map(([handed, forwarded]) => {
    count.handed += handed
    count.forwarded += forwarded
    return underlay.loses()
  })
}

describe('an underlay TAP', () => {
  it('loses packets when two looks in a row find that most were not forwarded', () => {
    expect(looks([10, 0], [10, 0])).toEqual([false, true])
    expect(looks([10, 2], [10, 4], [0, 0])).toEqual([false, true, false])
  })

  it('does not while they are, or others hide it', () => {
    expect(looks([1000, 1000], [8, 8], [1000, 998], [9, 900])).toEqual([false, false, false, false])
    expect(looks([10, 0], [10, 10], [10, 0])).toEqual([false, false, false])
  })

  it('is not judged by a few packets: they are counted with those that follow', () => {
    expect(looks([0, 0], [3, 0], [3, 0], [1, 0])).toEqual([false, false, false, false])
    expect(looks([7, 0], [1, 0], [7, 0], [1, 0])).toEqual([false, false, false, true])
    expect(looks([7, -2], [7, 16], [8, 8])).toEqual([false, false, false])
  })
})

describe('a machine that cannot', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })
  const told = (syscall: string, code: string, message = 'no') => {
    vi.spyOn(native, 'openUnderlay').mockImplementation(() => {
      throw Object.assign(new Error(message), { syscall, code })
    })
    const text = 'switches: {}\nvteps: { u: { local: "2001:db8::1", underlay: tap } }'
    return systemProblems(parseConfig(text, 'lab.yaml'))
      .filter((p) => p.path === 'vteps.u.underlay')
      .map((p) => `${p.line}:${p.column} ${p.found}; ${p.expected}`)
  }

  it('is told which kernel it takes', () => {
    const old = ['2:47 a kernel without UDP tunnel GSO; Linux 6.17 or later']
    expect(told('ioctl TUNSETOFFLOAD', 'EINVAL')).toEqual(old)
    expect(told('ioctl TUNSETVNETHDRSZ', 'EINVAL')).toEqual(old)
  })

  it('is told what else is in the way', () => {
    expect(told('open', 'ENOENT', 'cannot open /dev/net/tun: ...')).toEqual(['2:47 no /dev/net/tun; TAPs'])
    expect(told('write', 'EROFS', 'cannot set /proc/sys/net/ipv4/conf/underlay0/forwarding')).toEqual([
      '2:47 cannot set /proc/sys/net/ipv4/conf/underlay0/forwarding; a /proc/sys that may be written',
    ])
  })

  it('is told by opening when rights are missing', () => {
    expect(told('ioctl TUNSETIFF', 'EPERM')).toEqual([])
  })
})
