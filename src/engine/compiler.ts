/**
 * How far V8 inlines: the calls of one function together may add this much bytecode to it. The way of a packet is
 * many small functions, so that people can read it; with V8's own limit (920) a third of the calls on it remain
 * calls, each of which checks again what its caller had checked (src/README.md). The limit is read when a function
 * is compiled, and is one for the whole process: a program around us gets somewhat bigger code, nothing else.
 */
import { setFlagsFromString } from 'node:v8'

const INLINED_BYTECODE = 3000

export function inlineFurther(): void {
  setFlagsFromString(`--max-inlined-bytecode-size-cumulative=${INLINED_BYTECODE}`)
}
