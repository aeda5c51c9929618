// What pages offer to who may only look: every control there, and none of them to be pressed.
import { open, signIn } from './browser.mjs'

/** Looks at `pages` and tells each button that would change something and can be pressed. Signing out is nobody's loss. */
export async function offers(browser, { url, token, pages }) {
  const session = await signIn(browser, url, token)
  const { context, findings } = await open(browser, url, { session })
  const told = []
  let disabled = 0
  for (const path of pages) {
    const page = await context.newPage()
    const response = await page.goto(new URL(path, url).href)
    if (![200, 403].includes(response.status())) told.push(`${path} answers ${response.status()}`)
    const found = await page.evaluate(() => {
      const posts = [...document.querySelectorAll('form[method="post"]:not([action="/sign-out"]) button')]
      const called = (b) => `${b.textContent.trim()} (${b.form.getAttribute('action')})`
      return { offered: posts.filter((b) => !b.disabled).map(called), disabled: posts.filter((b) => b.disabled).length }
    })
    told.push(...found.offered.map((button) => `${path} offers ${button}`))
    disabled += found.disabled
    await page.close()
  }
  told.push(...findings())
  await context.close()
  return { findings: told, disabled }
}
