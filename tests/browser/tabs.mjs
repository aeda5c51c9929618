// Pages that are open for long: many of them at once, and while the server or the ledger goes and comes back.
import { existsSync } from 'node:fs'
import { open, signIn } from './browser.mjs'

/**
 * Opens `tabs` tabs of `path` and counts the streams of events they hold together. Then asks whoever started this, line by
 * line, for what is to happen, and looks what each tab says: {say, expect: in its content, without: not in it, banner: above
 * it, gone: no banner}.
 */
export async function tabs(browser, { url, token, path, tabs: n, steps, go }) {
  const session = await signIn(browser, url, token)
  const { context, findings } = await open(browser, url, { session })
  const told = []
  let streams = 0
  context.on('request', (request) => (streams += request.url().endsWith('/live') ? 1 : 0))
  const pages = []
  for (let i = 0; i < n; i++) {
    const page = await context.newPage()
    page.setDefaultTimeout(40_000)
    await page.goto(new URL(path, url).href)
    pages.push(page)
  }
  await pages[0].waitForFunction(() => navigator.locks.query().then((l) => l.held.length + l.pending.length > 0))
  if (streams !== 1) told.push(`${n} tabs hold ${streams} streams of events, not one between them`)
  findings()
  // Hidden tabs wait until they are seen: each is brought to the front before it is asked.
  for (const [n, { say, expect, without, banner, gone }] of steps.entries()) {
    await happens(say, go, n)
    for (const page of pages) {
      await page.bringToFront()
      try {
        if (expect) await page.locator('#main', { hasText: expect }).waitFor()
        if (without) await page.locator('#main', { hasText: without }).waitFor({ state: 'detached' })
        if (banner) await page.locator('#connection', { hasText: banner }).waitFor()
        if (gone) await page.locator('#connection').waitFor({ state: 'hidden' })
      } catch {
        const seen = await page.locator('body').innerText()
        told.push(`after \`${say}\` a tab does not show ${[expect, without && `no "${without}"`, banner, gone && 'that it is connected'].filter(Boolean).join(' and ')}: ${seen.slice(0, 300)}`)
      }
    }
  }
  await context.close()
  return { findings: told, streams }
}

/** Something is to happen outside; a file says that it has. */
async function happens(what, go, n) {
  process.stderr.write(`say ${what}\n`)
  for (let waited = 0; !existsSync(`${go}${n}`); waited += 50) {
    if (waited > 120_000) throw new Error(`nobody did: ${what}`)
    await new Promise((later) => setTimeout(later, 50))
  }
}
