/** What the watch over remotes asks of the kernel: the length of paths, and echoes. Tests put their own here. */
import { native } from '../../native.ts'
import { deviceMtu } from './live-vtep.ts'

export type PathKernel = Pick<typeof native, 'pathMtu' | 'openEcho' | 'echo' | 'echoReply' | 'close'> & {
  deviceMtu: typeof deviceMtu
}

export const pathKernel: PathKernel = {
  pathMtu: (...args) => native.pathMtu(...args),
  openEcho: (request) => native.openEcho(request),
  echo: (...args) => native.echo(...args),
  echoReply: (fd) => native.echoReply(fd),
  close: (fd) => native.close(fd),
  deviceMtu,
}
