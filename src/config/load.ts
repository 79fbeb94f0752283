/**
 * Reads a configuration: text -> YAML (source.ts) -> keys (schema.ts) -> what fits together (cross.ts)
 * -> files it names (rules.ts) -> FabricConfig (resolve.ts). All of it is checked before anything is
 * touched, and all problems are told at once, in a ConfigError.
 *
 * What only the machine can tell (does the namespace exist?) is checkSystem, in system.ts.
 */
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { z } from 'zod'
import { crossCheck } from './cross.ts'
import { ConfigError, type Path } from './error.ts'
import { checkNflog } from './nflog.ts'
import { Problems } from './problems.ts'
import { resolveFile } from './resolve.ts'
import { readRules } from './rules.ts'
import { fileSchema } from './schema.ts'
import { readSets } from './sets.ts'
import { Source } from './source.ts'
import type { FabricConfig } from './types.ts'

/**
 * Reads and checks a file.
 * @throws ConfigError
 */
export function loadConfig(path: string): FabricConfig {
  return parseConfig(readText(path), path)
}

/**
 * Checks a configuration's text.
 * @param file for messages; relative paths in the text start from its directory
 * @throws ConfigError
 */
export function parseConfig(text: string, file: string): FabricConfig {
  const source = new Source(text, file)
  if (source.value === undefined) throw new ConfigError(source.problems)
  return check(new Problems(source.value, source), dirname(file))
}

/**
 * Checks a configuration given as an object with the keys of the file. Relative paths start from the
 * working directory.
 * @throws ConfigError, whose problems have a key path but no line
 */
export function checkConfigObject(config: unknown): FabricConfig {
  return check(new Problems(config, null), process.cwd())
}

/**
 * Checks a configuration against this machine; see system.ts. Loaded on demand: it needs the addon, and
 * reading a file does not.
 * @param running what runs now, in a reload
 * @throws ConfigError with everything that is in the way
 */
export async function checkSystem(config: FabricConfig, running?: FabricConfig): Promise<void> {
  const system = await import('./system.ts')
  system.checkSystem(config, running)
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const known: Record<string, string> = {
      ENOENT: 'no such file',
      EISDIR: 'a directory',
      EACCES: 'a file that may not be read',
    }
    const found = known[code ?? ''] ?? message
    throw new ConfigError([{ file, path: '', found, expected: 'a configuration file' }])
  }
}

function check(problems: Problems, directory: string): FabricConfig {
  const result = fileSchema.safeParse(problems.raw)
  if (!result.success) problems.addIssues(result.error.issues, keysAt)
  crossCheck(problems)
  const sets = readSets(problems, directory)
  const rules = readRules(problems, directory, sets)
  checkNflog(problems, directory)
  const found = problems.sorted
  if (!result.success || found.length > 0) throw new ConfigError(found)
  const config = resolveFile(result.data, directory, rules, sets)
  problems.remember(config)
  return config
}

/** The keys that the mapping at `path` may have. */
function keysAt(path: Path): readonly string[] {
  let schema: unknown = fileSchema
  for (const step of path) {
    const inner = unwrap(schema)
    if (inner instanceof z.ZodObject) schema = inner.shape[step]
    else if (inner instanceof z.ZodRecord) schema = inner.valueType
    else if (inner instanceof z.ZodArray) schema = inner.element
    else return []
  }
  const inner = unwrap(schema)
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : []
}

/** A schema without its defaults and conversions. */
function unwrap(schema: unknown): unknown {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return unwrap(schema.unwrap())
  }
  if (schema instanceof z.ZodPipe) return unwrap(schema.in instanceof z.ZodTransform ? schema.out : schema.in)
  return schema
}
