/** Targets into the words of a body: what to do, with what. act.ts does it. */
import type { Target as TargetModel } from '../model.ts'
import { type NatRange, netmapOf, rangeOf } from '../nat/range.ts'
import type { CompileContext } from './context.ts'
import type { Draft } from './draft.ts'
import { Target } from './layout.ts'

type Action = Pick<Draft, 'target' | 'arg' | 'arg2' | 'chain'>

const ALL_BYTES = 0x7fff_ffff
const DSCP_BITS = 0xfc
const ZONE = { both: 3, original: 1, reply: 2 } as const
const STEP = { set: 0, inc: 1, dec: -1 } as const
const NAT = {
  SNAT: Target.Snat,
  DNAT: Target.Dnat,
  MASQUERADE: Target.Masquerade,
  REDIRECT: Target.Redirect,
} as const

const action = (target: Target, arg = 0, arg2 = 0): Action => ({ target, arg: arg | 0, arg2: arg2 | 0 })

/** What a rule does. */
export function actionOf(target: TargetModel | null, context: CompileContext): Action {
  const range = (one: NatRange): number => context.memory.ranges.push(one) - 1
  if (target === null) return action(Target.None)
  switch (target.kind) {
    case 'ACCEPT':
      return action(Target.Accept)
    case 'DROP':
      return action(Target.Drop)
    case 'RETURN':
      return action(Target.Return)
    case 'jump':
      return { ...action(target.goto ? Target.Goto : Target.Jump), chain: target.chain }
    case 'REJECT':
      return action(
        Target.Reject,
        target.reply.protocol === 'tcp-reset' ? -1 : (target.reply.type << 8) | target.reply.code,
      )
    case 'LOG':
      return action(Target.Log)
    case 'NFLOG':
      return action(Target.Nflog, Math.min(target.size ?? ALL_BYTES, ALL_BYTES))
    case 'QUEUE':
    case 'NFQUEUE': {
      const { min, max } = target.queues
      return action(Target.Queue, min, (max - min + 1) | (target.bypass ? 1 << 17 : 0))
    }
    case 'MARK':
      return action(Target.Mark, target.value, target.mask)
    case 'CONNMARK':
      context.tracks = true
      if (target.action === 'set') return action(Target.ConnmarkSet, target.value, target.mask)
      return action(
        target.action === 'save' ? Target.ConnmarkSave : Target.ConnmarkRestore,
        target.nfMask,
        target.ctMask,
      )
    case 'CT':
    case 'NOTRACK':
      // To ask for none is not to ask for connections (xt_CT): without another rule nobody looks.
      if (target.notrack) return action(Target.Notrack)
      context.tracks = true
      if (target.zone === null) return action(Target.None)
      return action(Target.Zone, target.zone.id === 'mark' ? -1 : target.zone.id, ZONE[target.zone.direction])
    case 'SNAT':
    case 'DNAT':
    case 'MASQUERADE':
    case 'REDIRECT':
      context.tracks = true
      return action(NAT[target.kind], range(rangeOf(target)))
    case 'NETMAP':
      context.tracks = true
      return action(Target.Netmap, range(netmapOf(target.to)))
    case 'TCPMSS':
      return action(Target.Tcpmss, target.mss ?? -1)
    case 'TOS':
      return action(Target.Tos, target.value, target.mask)
    case 'DSCP':
      return action(Target.Tos, target.value << 2, DSCP_BITS)
    case 'TTL':
    case 'HL':
      return action(Target.Ttl, target.value, STEP[target.action])
    case 'TRACE':
      return action(Target.Trace)
    case 'CHECKSUM':
      return action(Target.Checksum)
  }
}
