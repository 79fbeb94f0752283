/** Where packets of NFLOG groups go: one file for each, which nobody else writes. */
import { isAbsolute, join } from 'node:path'
import { Owners } from './owners.ts'
import type { Problems } from './problems.ts'
import { type RouterKeys, routerSchema } from './router-schema.ts'
import { valueAt } from './source.ts'
import type { NflogConfig } from './types.ts'
import { fieldsOf } from './value.ts'

export function resolveNflog(keys: RouterKeys['nflog'], directory: string): NflogConfig[] {
  return Object.entries(keys).map(([group, { file, maxBytes }]) => ({
    group: Number(group),
    file: isAbsolute(file) ? file : join(directory, file),
    maxBytes,
  }))
}

export function checkNflog(problems: Problems, directory: string): void {
  const owners = new Owners(problems, 'each file once')
  for (const [router, body] of fieldsOf(valueAt(problems.raw, ['routers']).value)) {
    const { data } = routerSchema.shape.nflog.safeParse(valueAt(body, ['nflog']).value)
    for (const { file, group } of data ? resolveNflog(data, directory) : [])
      owners.claim(file, ['routers', router, 'nflog', String(group), 'file'], `${file}`)
  }
}
