// Reads one job from standard input, {kind, browser, url, …}, and prints one result: {findings: [a line each], …}.
import { text } from 'node:stream/consumers'
import { connect } from './browser.mjs'
import { looks } from './looks.mjs'
import { offers } from './offers.mjs'
import { retry, start } from './story.mjs'
import { tabs } from './tabs.mjs'

const KINDS = { looks, offers, retry, start, tabs }

const job = JSON.parse(await text(process.stdin))
const browser = await connect(job.browser)
let result
try {
  if (!Object.hasOwn(KINDS, job.kind)) throw new Error(`there are jobs of ${Object.keys(KINDS).join(', ')}`)
  result = await KINDS[job.kind](browser, job)
} catch (error) {
  result = { findings: [`the job \`${job.kind}\` stopped: ${error.message}`] }
}
await browser.close()
process.stdout.write(JSON.stringify(result))
