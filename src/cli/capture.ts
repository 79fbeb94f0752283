/**
 * `taploom capture PORT -w FILE`: the daemon sends pcapng over its socket, this process writes it, so
 * that the file belongs to the caller and no daemon writes where a client says.
 *
 *     ends by                      so
 *     Ctrl-C, SIGTERM              asks the daemon to stop, takes what is still in the ring
 *     --count, --duration          the daemon stops by itself
 *     the reader of a pipe left    like Ctrl-C; no error
 *     the daemon ended             the file is whole up to there; exit code 1
 */
import { once } from 'node:events'
import { type FileHandle, open } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import type { Command } from 'commander'
import {
  CAPTURE_ID_HEADER,
  CAPTURED_TRAILER,
  type CaptureResult,
  LOST_TRAILER,
} from '../control/api/capture-stream.ts'
import { type ControlClient, ControlError, type Query } from '../control/api/client.ts'
import { UsageError } from './exit.ts'
import { clientOf, plural, seconds, whole } from './options.ts'

interface CaptureOptions {
  write: string
  snaplen?: number
  count?: number
  duration?: number
}

const NOTES = `
PORT is switch.port, or port when only one switch has it. Both directions are captured, with nanosecond
times; ports that are not captured do not become slower.

Examples:
  sudo taploom capture web -w web.pcapng            until Ctrl-C
  sudo taploom capture lan.web -w web.pcapng --count 1000 --snaplen 96
  sudo taploom capture web -w - | tshark -r -       watch it live`

export function capture(program: Command): void {
  program
    .command('capture')
    .description('write the packets of a port to a pcapng file')
    .argument('<port>', 'switch.port, or port')
    .requiredOption('-w, --write <file>', "file to write; '-' is standard output")
    .option('--snaplen <bytes>', 'bytes kept of each packet (default: all)', whole(14, 262144))
    .option('--count <packets>', 'end after so many packets', whole(1))
    .option('--duration <seconds>', 'end after so long', seconds)
    .addHelpText('after', NOTES)
    .action(async (port: string, options: CaptureOptions, command: Command) => {
      const { write, ...limits } = options
      if (write === '-' && process.stdout.isTTY) {
        throw new UsageError('a capture is binary: give a file, or a pipe to a program that reads pcapng')
      }
      // Opened before the capture starts: a file that cannot be written costs the daemon nothing.
      const file = write === '-' ? null : await create(write)
      try {
        const { captured, lost } = await record(clientOf(command), { port, ...limits }, file)
        process.stderr.write(`${plural(captured, 'packet')} captured, ${lost} lost\n`)
      } finally {
        await file?.close()
      }
    })
}

async function create(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'w')
  } catch (error) {
    throw new Error(`cannot write the capture: ${(error as Error).message}`)
  }
}

async function write(file: FileHandle, chunk: Buffer): Promise<void> {
  try {
    await file.writeFile(chunk)
  } catch (error) {
    throw new Error(`cannot write the capture: ${(error as Error).message}`)
  }
}

async function record(client: ControlClient, query: Query, file: FileHandle | null): Promise<CaptureResult> {
  const answer = await client.stream('/v1/capture', query)
  const stop = (): void => {
    client.delete(`/v1/capture/${answer.headers[CAPTURE_ID_HEADER]}`).catch(() => answer.destroy())
  }
  // Once: a second Ctrl-C ends this process as it would any other.
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  try {
    for await (const chunk of received(answer)) {
      if (file) await write(file, chunk)
      else if (!process.stdout.write(chunk)) await once(process.stdout, 'drain')
    }
  } finally {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
  const { [CAPTURED_TRAILER]: captured, [LOST_TRAILER]: lost } = answer.trailers
  if (captured === undefined) throw cutOff()
  return { captured: Number(captured), lost: Number(lost) }
}

/** The answer's chunks; a connection that breaks is the daemon's end, not an error of the file. */
async function* received(answer: IncomingMessage): AsyncGenerator<Buffer> {
  try {
    yield* answer
  } catch {
    throw cutOff()
  }
}

const cutOff = (): ControlError =>
  new ControlError('connection', 'the daemon ended during the capture; the file is whole up to there')
