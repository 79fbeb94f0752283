/** Whether this machine can have an underlay TAP. */
import { native } from '../../src/native.ts'
import { Lab, lacking } from './lab.ts'

/** Why not; null = it can. */
export function noUnderlay(): string | null {
  if (lacking) return lacking
  const lab = new Lab()
  try {
    const [space] = lab.spaces(1)
    native.close(native.openUnderlay({ netns: lab.path(space), family: 4 }).fd)
    return null
  } catch (error) {
    const { syscall, message } = error as NodeJS.ErrnoException
    return syscall === 'ioctl TUNSETOFFLOAD' ? 'needs Linux 6.17' : message
  } finally {
    lab.close()
  }
}
