// One browser, many contexts; everything that goes wrong in a context is kept to be told.
import { chromium } from 'playwright-core'

/** The browser that runs already; leaving it does not end it. */
export const connect = (endpoint) => chromium.connectOverCDP(endpoint)

/**
 * A context that looks like `look`: {scheme: 'light' | 'dark', width, height, motion: whether things may move, session:
 * what `signIn` gave}. Its `findings()` are what went wrong since they were last asked for, one line each.
 */
export async function open(browser, url, look = {}) {
  const context = await browser.newContext({
    colorScheme: look.scheme ?? 'light',
    viewport: { width: look.width ?? 1280, height: look.height ?? 800 },
    reducedMotion: look.motion ? 'no-preference' : 'reduce',
    storageState: look.session,
    locale: 'en-GB',
    timezoneId: 'UTC',
  })
  return { context, findings: await watch(context, new URL(url).host) }
}

/** The session of who presents `token` on the page for it. */
export async function signIn(browser, url, token) {
  const { context } = await open(browser, url)
  try {
    const page = await context.newPage()
    await page.goto(new URL('/sign-in', url).href)
    const form = page.locator('form:has(input[name="token"])')
    await form.locator('input[name="token"]').fill(token)
    const answered = page.waitForResponse((response) => response.request().method() === 'POST')
    await form.locator('[type="submit"], button:not([type])').first().click()
    const status = (await answered).status()
    if (status >= 400) throw new Error(`signing in is refused: ${status}`)
    await page.waitForURL((at) => at.pathname !== '/sign-in', { timeout: 15_000 })
    return await context.storageState()
  } finally {
    await context.close()
  }
}

async function watch(context, host) {
  let told = []
  const tell = (kind, what) => told.push({ kind, what })
  const isForeign = (address) => /^(https?|wss?):/.test(address) && new URL(address).host !== host

  await context.exposeBinding('resealTellsViolation', (_, v) =>
    tell('violation', `breaks the content security policy: ${v.directive} does not allow ${v.blocked}${v.at}`))
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (e) => {
      const at = e.sourceFile ? ` (${e.sourceFile}:${e.lineNumber})` : ''
      window.resealTellsViolation({ directive: e.effectiveDirective, blocked: e.blockedURI || 'this', at })
    })
  })
  context.on('console', (message) => {
    // What could not be loaded is told by the network, with its reason.
    if (message.type() !== 'error' || message.text().startsWith('Failed to load resource')) return
    const kind = /content security policy/i.test(message.text()) ? 'violation in the console' : 'console'
    tell(kind, `console error: ${message.text()}`)
  })
  context.on('weberror', (e) => tell('script', `script error: ${e.error().message}`))
  context.on('dialog', (dialog) => {
    tell('dialog', `opens a dialog: ${dialog.type()} ${dialog.message()}`)
    return dialog.dismiss()
  })
  context.on('request', (request) => {
    if (isForeign(request.url())) tell('foreign', `asks another host: ${request.method()} ${request.url()}`)
  })
  context.on('requestfailed', (request) => {
    const why = request.failure()?.errorText ?? 'unknown'
    // A page that is left aborts what it was reading; the policy and another host are told already.
    if (why === 'net::ERR_ABORTED' || why === 'csp' || isForeign(request.url())) return
    tell('failed', `request failed: ${request.method()} ${request.url()}: ${why}`)
  })
  context.on('response', (response) => {
    if (response.status() < 400 || response.request().isNavigationRequest()) return
    tell('failed', `request refused: ${response.request().method()} ${response.url()}: ${response.status()}`)
  })

  return () => {
    const violations = told.some((t) => t.kind === 'violation')
    const findings = told.filter((t) => !(violations && t.kind === 'violation in the console')).map((t) => t.what)
    told = []
    return findings
  }
}
