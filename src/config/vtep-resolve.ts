/** From the keys of VXLAN, checked, to VtepConfig and VxlanConfig. */
import { familyOf } from './address.ts'
import type { VtepKeys, VxlanKeys } from './vtep-schema.ts'
import type { VtepConfig, VxlanConfig } from './vtep-types.ts'

export function resolveVtep({ device = '', mtu = 0, probe, resolve, ...keys }: VtepKeys): VtepConfig {
  return {
    ...keys,
    family: familyOf(keys.local),
    device,
    mtu,
    resolveS: resolve,
    probe: { mtu: probe.mtu, liveness: probe.liveness, intervalS: probe.interval, misses: probe.misses },
  }
}

export function resolveVxlan(keys: VxlanKeys): VxlanConfig {
  const { vtep, vni, remotes, group = '', learning, limit, aging, suppress, clampMss, innerVlan } = keys
  const known = remotes.length > 0 && group === ''
  return {
    type: 'vxlan',
    vtep,
    vni,
    remotes,
    group,
    groupDevice: group === '' ? '' : (keys.device ?? ''),
    learning,
    statics: keys.static,
    limit,
    agingS: aging,
    suppress,
    clampMss,
    innerVlan,
    accept: keys.accept ?? (known ? 'known' : 'any'),
  }
}
