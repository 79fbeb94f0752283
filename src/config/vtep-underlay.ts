/**
 * Opening the TAP of `underlay: tap` (native/underlay.h), and what to tell an operator when this machine cannot.
 * Tried for a moment when a configuration is checked, and kept when the VTEP opens.
 */
import { native } from '../native.ts'
import { netnsPath, netnsText } from './netns.ts'
import type { VtepConfig } from './vtep-types.ts'

export class UnderlayError extends Error {
  readonly found: string
  readonly expected: string
  readonly hint: string | undefined

  constructor(found: string, expected: string, hint?: string) {
    super(`underlay: tap needs ${expected}: ${found}`)
    this.found = found
    this.expected = expected
    this.hint = hint
  }
}

/** @throws UnderlayError when this machine cannot; what the kernel says of rights and namespaces as it is */
export function openUnderlay({ netns, family }: VtepConfig): { fd: number; name: string } {
  let opened: ReturnType<typeof native.openUnderlay>
  try {
    opened = native.openUnderlay({ netns: netnsPath(netns), family })
  } catch (error) {
    const { code, syscall, message } = error as NodeJS.ErrnoException
    if (syscall === 'ioctl TUNSETOFFLOAD' || syscall === 'ioctl TUNSETVNETHDRSZ')
      throw new UnderlayError('a kernel without UDP tunnel GSO', 'Linux 6.17 or later')
    if (syscall === 'write') throw new UnderlayError(message, `a /proc/sys that may be written`)
    if (syscall === 'open' && code === 'ENOENT' && message.includes('/dev/net/tun'))
      throw new UnderlayError('no /dev/net/tun', 'TAPs')
    throw error
  }
  const { fd, name, rpFilter } = opened
  if (rpFilter === 0) return { fd, name }
  native.close(fd)
  throw new UnderlayError(
    `net.ipv4.conf.all.rp_filter = ${rpFilter} in ${netnsText(netns)}`,
    'net.ipv4.conf.all.rp_filter = 0',
    'else the kernel drops what has its own address as source; set it for each device instead',
  )
}
