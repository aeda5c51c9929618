// What an operator does: signs in, starts a rotation, watches it, does what failed again by keyboard alone.
import { open } from './browser.mjs'

const PATIENCE = 60_000

/** Signs in, looks at the dry run, starts the rotation, and follows it without reloading until rows are quarantined. */
export async function start(browser, { url, token, picture }) {
  const { context, findings } = await open(browser, url)
  const page = await context.newPage()
  page.setDefaultTimeout(PATIENCE)
  await page.goto(url)
  await page.getByLabel('Token').fill(token)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('link', { name: 'Start a rotation' }).click()
  await page.getByLabel('To which key').selectOption({ index: 1 })
  await page.getByRole('button', { name: 'Show what it would do' }).click()
  await page.getByRole('heading', { name: 'What it would do' }).waitFor()
  const forecast = await page.locator('table tbody tr').allInnerTexts()
  await page.getByLabel('Why').fill('cryptoperiod over')
  await page.getByRole('button', { name: 'Start the rotation' }).click()
  await page.getByRole('heading', { name: 'Rotation 1 of default' }).waitFor()
  const loaded = await page.evaluate(() => performance.timeOrigin)
  // Progress and failures appear by themselves.
  await page.getByText(/[1-9][0-9]* quarantined rows?/).first().waitFor()
  const said = await page.locator('#said', { hasText: 'Done.' }).isVisible()
  const same = loaded === (await page.evaluate(() => performance.timeOrigin))
  await page.goto(new URL('/rotations/1/failures', url).href)
  const causes = await page.locator('section h2 code').allInnerTexts()
  if (picture) await page.screenshot({ path: picture, fullPage: true })
  const told = findings()
  if (!said) told.push('what was said of the last press went with the page that was morphed')
  if (!same) told.push('the page was loaded anew while it followed the rotation')
  if (forecast.length !== 3) told.push(`the dry run tells of ${forecast.length} tables, not of 3`)
  await context.close()
  return { findings: told, causes }
}

/** Tab and Enter alone: the group of `cause` is looked at again, and the rotation followed to its end. */
export async function retry(browser, { url, token, cause, key }) {
  const { context, findings } = await open(browser, url)
  const page = await context.newPage()
  page.setDefaultTimeout(PATIENCE)
  await page.goto(new URL('/rotations/1/failures', url).href)
  await page.locator('input[name="token"]:focus').waitFor()
  await page.keyboard.type(token)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'What failed in rotation 1' }).waitFor()
  await tabTo(page, `section[aria-label^="${cause} "] button`)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Retry' }).waitFor()
  const said = await page.locator('#main').innerText()
  await tabTo(page, 'a[href="/rotations/1"]')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Rotation 1 of default' }).waitFor()
  await page.locator('.head .state', { hasText: 'completed' }).waitFor()
  await page.goto(new URL(`/keys/${key}`, url).href)
  await page.locator('.head .state', { hasText: 'destroyed' }).waitFor()
  const told = findings()
  if (!/Matched\s+\d+/.test(said) || !/Skipped\s+\d+/.test(said)) told.push(`what became of the retry is not told: ${said}`)
  await context.close()
  return { findings: told }
}

/** Presses Tab until `selector` has the focus, as somebody without a mouse does; the focus must be seen. */
async function tabTo(page, selector) {
  for (let presses = 0; presses < 200; presses++) {
    await page.keyboard.press('Tab')
    const there = await page.evaluate((wanted) => {
      const at = document.activeElement
      return at?.matches(wanted) && getComputedStyle(at).outlineStyle !== 'none'
    }, selector)
    if (there) return
  }
  throw new Error(`200 times Tab do not lead to ${selector}`)
}
