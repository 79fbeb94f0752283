/** What the README says about tests: every row of the table of BCP 127 is a test, and every such test a row. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const RFC = 'filter/nat/rfc'

interface Row {
  rfc: string
  requirement: string
  /** Path in test/ without its end, and the test's name. */
  file: string
  name: string
}

function rows(): Row[] {
  const readme = readFileSync(`${root}README.md`, 'utf8')
  const table = /<!-- bcp127 -->\n([\s\S]*?)<!-- \/bcp127 -->/.exec(readme)
  if (!table) throw new Error('the README has no table between <!-- bcp127 --> and <!-- /bcp127 -->')
  const lines = table[1].split('\n').filter((line) => /^\| *\d/.test(line))
  return lines.map((line) => {
    const cells = line.split('|').slice(1, -1)
    const [rfc, requirement, , , test] = cells.map((cell) => cell.trim())
    const [, file = RFC, name] = /^`(?:([a-z0-9-]+(?:\/[a-z0-9-]+)+): )?(.*)`$/.exec(test) ?? []
    return { rfc, requirement, file, name }
  })
}

/** Names of the tests of a file, with the RFC of the `describe` they are in ('' = none). */
function testsOf(file: string): { rfc: string; name: string }[] {
  const path = `${root}test/${file}.test.ts`
  if (!existsSync(path)) return []
  let rfc = ''
  const found: { rfc: string; name: string }[] = []
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const block = /^(?:describe(?:\.each\(.*\))?|\}\))\(?'?(?:RFC (\d+))?/.exec(line)
    if (block) rfc = block[1] ?? ''
    const name = /^\s*(?:test|it)\('((?:[^'\\]|\\.)*)'/.exec(line)
    if (name) found.push({ rfc, name: name[1].replace(/\\'/g, "'") })
  }
  return found
}

test('every row names a test that exists', () => {
  const all = rows()
  expect(all.length).toBeGreaterThan(30)
  const missing = all.filter((row) => !testsOf(row.file).some((t) => t.name === row.name))
  expect(missing).toEqual([])
})

test('every test about an RFC is a row of that RFC, once', () => {
  const listed = rows()
    .filter((row) => row.file === RFC)
    .map((row) => ({ rfc: row.rfc, name: row.name }))
  // One of RFC 7857, which updates RFC 5382, is among the tests of TCP.
  const tests = testsOf(RFC)
    .filter((t) => t.rfc !== '')
    .map((t) => ({ rfc: /^RFC (\d+)/.exec(t.name)?.[1] ?? t.rfc, name: t.name }))
  const order = (list: { rfc: string; name: string }[]): string[] =>
    list.map((t) => `${t.rfc} ${t.name}`).sort()
  expect(order(listed)).toEqual(order(tests))
})

test('a row is about the requirement its test is about', () => {
  const wrong = rows().filter((row) => {
    if (row.file !== RFC) return false
    const first = row.requirement.split(',')[0]
    return !row.name.replace('RFC 7857 ', '').startsWith(first)
  })
  expect(wrong).toEqual([])
})
