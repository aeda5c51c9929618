// How pages look: each in both schemes and two widths, with what anybody would have to mend.
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { open, signIn } from './browser.mjs'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const WEIGHT_MAX = 100 * 1024
// Beyond it a picture of the whole page is of no use to anybody.
const PICTURE_HEIGHT_MAX = 8_000

/**
 * Looks at `pages` of `url`: paths, or {path, name, status} where the answer is to be another than 200.
 * {token: to sign in with, schemes, widths, pictures: the folder that gets NAME-SCHEME-WIDTH.png}
 */
export async function looks(browser, { url, pages, token, schemes = ['light', 'dark'], widths = [1280, 375], pictures }) {
  const session = token ? await signIn(browser, url, token) : undefined
  const found = new Map()
  const weights = {}
  for (const [i, scheme] of schemes.entries()) {
    for (const [j, width] of widths.entries()) {
      // Each scheme and each width is examined once: contrast does not depend on the width, nor a target's size on the scheme.
      const examined = i === j % schemes.length || j === i % widths.length
      const { context, findings } = await open(browser, url, { scheme, width, session })
      for (const each of pages) {
        const page = typeof each === 'string' ? { path: each } : each
        const picture = pictures && join(pictures, `${page.name ?? named(page.path)}-${scheme}-${width}.png`)
        const { told, weight } = await look(context, url, page, { findings, picture, examined })
        weights[page.path] = Math.max(weight, weights[page.path] ?? 0)
        for (const line of told) {
          const key = `${page.path}: ${line}`
          found.set(key, [...(found.get(key) ?? []), `${scheme} ${width}`])
        }
      }
      await context.close()
    }
  }
  return { findings: [...found].map(([line, where]) => `${line} [${where.join(', ')}]`), weights }
}

/** `/rotations/7/batches?state=failed` is `rotations-7-batches-state-failed`. */
const named = (path) => path.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '') || 'overview'

async function look(context, url, { path, status = 200 }, { findings, picture, examined }) {
  const page = await context.newPage()
  const told = []
  let weight = 0
  try {
    const response = await page.goto(new URL(path, url).href, { waitUntil: 'load' })
    if (response.status() !== status) told.push(`answers ${response.status()}, not ${status}`)
    await page.evaluate(() => document.fonts.ready.then(() => new Promise(requestAnimationFrame)).then(() => {}))
    told.push(...(await page.evaluate(sideways)))
    const parts = await page.evaluate(weighed)
    weight = parts.reduce((sum, [, bytes]) => sum + bytes, 0)
    if (weight > WEIGHT_MAX) told.push(overweight(weight, parts))
    const height = await page.evaluate(() => document.documentElement.scrollHeight)
    if (picture) await page.screenshot({ path: picture, fullPage: height <= PICTURE_HEIGHT_MAX, animations: 'disabled' })
    // Before axe is in the page: what it does is not the page's doing.
    told.push(...findings())
    if (examined) told.push(...(await inaccessible(page)))
  } catch (error) {
    told.push(...findings(), `cannot be looked at: ${error.message.split('\n')[0]}`)
  }
  await page.close()
  findings()
  return { told, weight }
}

/** In the page: what makes it scroll sideways. */
function sideways() {
  const wide = document.documentElement.scrollWidth
  if (wide <= innerWidth) return []
  const clipped = (e) => e && e !== document.body && (getComputedStyle(e).overflowX !== 'visible' || clipped(e.parentElement))
  const beyond = [...document.body.querySelectorAll('*')].filter(
    (e) => e.getBoundingClientRect().right > innerWidth + 0.5 && !clipped(e.parentElement))
  const innermost = beyond.filter((e) => !beyond.some((other) => other !== e && e.contains(other)))
  const called = (e) => e.tagName.toLowerCase() + (e.id ? `#${e.id}` : '') + [...e.classList].map((c) => `.${c}`).join('')
  const which = [...new Set(innermost.map(called))].slice(0, 3).join(', ')
  return [`scrolls sideways: ${wide} wide in ${innerWidth}${which ? `, because of ${which}` : ''}`]
}

/** In the page: itself and what it loaded, each once, in bytes as they are without compression. */
function weighed() {
  const loaded = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  return [...new Map(loaded.map((entry) => [new URL(entry.name).pathname, entry.decodedBodySize]))]
}

function overweight(weight, parts) {
  const kb = (bytes) => `${Math.ceil(bytes / 1024)} KB`
  const heavy = parts.filter(([, bytes]) => bytes > 1024).sort((a, b) => b[1] - a[1])
  const heaviest = heavy.slice(0, 5).map(([name, bytes]) => `${name} ${kb(bytes)}`)
  return `weighs ${kb(weight)} of at most ${kb(WEIGHT_MAX)}, of which ${heaviest.join(', ')}`
}

/** What axe has against the page, one line for each element. */
async function inaccessible(page) {
  await page.evaluate(AXE)
  const violations = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }).then((r) =>
    r.violations.map((v) => ({ ...v, nodes: v.nodes.map(({ target, html }) => ({ target, html })) }))))
  return violations.flatMap(({ id, impact, help, nodes }) => nodes.map(({ target, html }) =>
    `axe ${id} (${impact}): ${target.flat().join(' ')}: ${html.replace(/\s+/g, ' ').slice(0, 200)}: ${help}`))
}
