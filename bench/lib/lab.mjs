/**
 * The place of one measurement: two namespaces with one interface each, joined by the subject.
 *
 *     tlb-PID-NAME-a                                     tlb-PID-NAME-b
 *     eth0 10.71.0.1/24   <---   the subject   --->      eth0 10.71.0.2/24
 *                             (tlb-PID-NAME-s, if it needs a namespace of its own)
 *
 * The labs of routers have the server in a subnet of its own, 10.72.0.2/24, and the router at .254 of both.
 *
 * IPv6 is off inside, so that nothing is sent but what is measured. No packet leaves the namespaces.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { later, sh, sleep } from './process.mjs'

export const CLIENT = '10.71.0.1'
export const SERVER = '10.71.0.2'
export const DEVICE = 'eth0'
/** The server behind a router, and the router's two addresses. */
export const FAR_SERVER = '10.72.0.2'
export const NEAR_GATEWAY = '10.71.0.254'
export const FAR_GATEWAY = '10.72.0.254'

export class Lab {
  constructor(name) {
    const prefix = `tlb-${process.pid}-${name}`
    this.name = name
    this.client = `${prefix}-a`
    this.server = `${prefix}-b`
    this.middle = `${prefix}-s`
    /** Whom the client speaks to. */
    this.target = SERVER
    /** Pids whose CPU time is the subject's; empty when the subject is the kernel. */
    this.pids = []
    this.removers = []
    this.nextPort = 5201
    this.directory = mkdtempSync(join(tmpdir(), 'taploom-bench-'))
    this.removers.push(later(() => rmSync(this.directory, { recursive: true, force: true })))
    this.namespace(this.client)
    this.namespace(this.server)
  }

  /** A port no earlier measurement used: late packets of one run never reach the next. */
  port(count = 1) {
    this.nextPort += count
    return this.nextPort - count
  }

  namespace(name) {
    sh('ip', 'netns', 'add', name)
    this.removers.push(later(() => sh('ip', 'netns', 'del', name)))
    sh('ip', '-n', name, 'link', 'set', 'lo', 'up')
    for (const scope of ['all', 'default']) this.sysctl(name, `net.ipv6.conf.${scope}.disable_ipv6=1`)
  }

  sysctl(namespace, setting) {
    sh('ip', 'netns', 'exec', namespace, 'sysctl', '-qw', setting)
  }

  /** Moves a device from the middle to its end and gives it its name there. */
  hand(device, namespace) {
    sh('ip', '-n', this.middle, 'link', 'set', device, 'netns', namespace, 'name', DEVICE)
  }

  address() {
    for (const [namespace, address] of [
      [this.client, CLIENT],
      [this.server, SERVER],
    ]) {
      sh('ip', '-n', namespace, 'addr', 'add', `${address}/24`, 'dev', DEVICE)
      sh('ip', '-n', namespace, 'link', 'set', DEVICE, 'up')
    }
  }

  /** The server gets an address behind a router, and the client a way to it. */
  route() {
    this.target = FAR_SERVER
    for (const [namespace, address] of [
      [this.client, CLIENT],
      [this.server, FAR_SERVER],
    ]) {
      sh('ip', '-n', namespace, 'addr', 'add', `${address}/24`, 'dev', DEVICE)
      sh('ip', '-n', namespace, 'link', 'set', DEVICE, 'up')
    }
    sh('ip', '-n', this.client, 'route', 'add', 'default', 'via', NEAR_GATEWAY)
  }

  async reachable() {
    for (let attempt = 0; attempt < 40; attempt++) {
      try {
        sh('ip', 'netns', 'exec', this.client, 'ping', '-c1', '-W1', this.target)
        return
      } catch {
        await sleep(100)
      }
    }
    throw new Error(`${this.name}: no packet gets through`)
  }

  /** Adds a clean-up step that runs before the namespaces go. */
  onDown(step) {
    this.removers.push(later(step))
  }

  async down() {
    while (this.removers.length > 0) await this.removers.pop()()
    this.pids = []
  }
}
