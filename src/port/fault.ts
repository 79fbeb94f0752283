export interface FaultSpec { seed: number }
