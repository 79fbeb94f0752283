/**
 * Every reason a packet can end for, in one list: number, name, sentence. Nothing is dropped without
 * one. Counted per port (counters.ts), shown by `taploom show drops`. Numbers are part of the shared
 * memory: append, never reorder.
 */
export const enum Drop {
  Runt = 0,
  SourceGroup,
  SourceZero,
  SourceOwn,
  Reserved,
  VlanReserved,
  VlanIngress,
  UntaggedRefused,
  TaggedRefused,
  SamePort,
  NoEgress,
  StormUnknown,
  StormMulticast,
  StormBroadcast,
  TooBig,
  NoRoom,
  Refused,
  PortDown,
  Malformed,
  NoSlot,
  FaultLoss,
  QueueFull,
  NoEthernet,
  PortRemoved,
  Locked,
}

/** [name, where it is counted, what it means], in the order of Drop. */
export const DROPS: readonly (readonly [name: string, side: 'in' | 'out', meaning: string])[] = [
  ['runt', 'in', 'shorter than an Ethernet header, or cut short'],
  ['source-group', 'in', 'source address is a group address (802.1Q 8.6.1)'],
  ['source-zero', 'in', 'source address is all zero'],
  ['source-own', 'in', "source address is the switch's own: somebody copies it, or there is a loop"],
  ['reserved', 'in', 'to 01-80-C2-00-00-0x, which a bridge does not forward (802.1Q 8.6.3)'],
  ['vlan-reserved', 'in', 'VLAN 4095 is reserved'],
  ['vlan-ingress', 'in', 'the port is not a member of the VLAN'],
  ['untagged-refused', 'in', 'untagged, and the port has no native VLAN'],
  ['tagged-refused', 'in', 'tagged, on an access port'],
  ['same-port', 'in', 'the destination is behind the port it came from'],
  ['no-egress', 'in', 'no other port may send it: none up in the VLAN, isolated, or not flooded there'],
  ['storm-unknown', 'in', 'more unknown unicast per second than the port is allowed'],
  ['storm-multicast', 'in', 'more multicast per second than the port is allowed'],
  ['storm-broadcast', 'in', 'more broadcast per second than the port is allowed'],
  ['too-big', 'out', "longer than the port's MTU (a super-frame: its segments are)"],
  ['no-room', 'out', "the kernel's queue behind the port is full"],
  ['refused', 'out', 'the kernel does not take this frame'],
  ['port-down', 'out', 'the device is not up, or is gone'],
  ['malformed', 'out', 'a super-frame whose headers do not add up, so that it cannot be segmented'],
  ['no-slot', 'in', 'the packet pool was empty when a copy was needed'],
  ['fault-loss', 'in', 'lost on purpose by the fault decorator'],
  ['queue-full', 'out', 'the queue between two switches or threads is full'],
  ['no-ethernet', 'in', 'from a TUN, which carries no Ethernet: a switch has no use for it'],
  ['port-removed', 'out', 'held for a port that was removed'],
  ['locked', 'in', 'the port takes only static addresses, and this source is not one'],
]

export const DROP_COUNT = 25
