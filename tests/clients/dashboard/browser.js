// A browser with one page, and what all scenarios do with it.

const assert = require('node:assert/strict')
const crypto = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { chromium } = require('playwright-core')

/** How long something may take to be seen, milliseconds. */
const WAIT = 20000
const ADMIN = 'admin'
/** What the first login asks for in the scenarios. */
const PASSWORD = 'a password of its own'

class Browser {
  static async open (name, given) {
    const own = new Browser()
    own.name = name
    own.given = given
    own.profile = fs.mkdtempSync(path.join(os.tmpdir(), 'dashboard-'))
    own.chromium = await chromium.launch({
      executablePath: given.chromium,
      // One certificate is believed, and no other.
      args: [`--ignore-certificate-errors-spki-list=${keyHash(given.certificate)}`, '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync']
    })
    own.complaints = []
    own.texts = []
    await own.fresh()
    return own
  }

  /** A page without a memory of former ones; `options` are those of a context of Playwright. */
  async fresh (options = {}) {
    await this.context?.close()
    this.context = await this.chromium.newContext({
      locale: 'en-GB', viewport: { width: 1280, height: 800 }, ...options
    })
    this.page = await this.context.newPage()
    this.page.setDefaultTimeout(WAIT)
    const { hostname } = new URL(this.given.page)
    this.page.on('request', request => {
      const host = new URL(request.url()).hostname
      if (!request.url().startsWith('data:') && !request.url().startsWith('blob:') && host !== hostname) {
        this.complaints.push(`asks a foreign host: ${request.url()}`)
      }
    })
    this.page.on('pageerror', error => this.complaints.push(`error in the page: ${error.stack ?? error}`))
    this.page.on('console', message => {
      const text = message.text()
      this.texts.push(`${message.type()}: ${text}`)
      if (text.includes('Content Security Policy')) this.complaints.push(text)
    })
    return this.page
  }

  /** What a page must never do. */
  mustBeQuiet () {
    assert.deepEqual(this.complaints, [])
  }

  said () {
    return [...this.texts.slice(-40), ...this.complaints]
  }

  /** Opens the dashboard; `where` is behind the `#`. */
  async visit (where = '/') {
    await this.page.goto(new URL(`#${where}`, this.given.page).href)
  }

  async fillLogin (password, username = ADMIN) {
    const { page } = this
    await page.getByLabel('User name').fill(username)
    await page.getByLabel('Password', { exact: true }).fill(password)
    await page.getByRole('button', { name: 'Log in' }).click()
  }

  /** The login with which a new broker begins: the default password has to be changed. */
  async firstLogin (password = PASSWORD) {
    const { page } = this
    await this.visit()
    await this.fillLogin('public')
    await page.getByLabel('New password', { exact: true }).fill(password)
    await page.getByLabel('Repeat new password').fill(password)
    await page.getByRole('button', { name: 'Save password' }).click()
    await this.mustShow('Overview')
  }

  async login (password = PASSWORD, username = ADMIN) {
    await this.visit()
    await this.fillLogin(password, username)
    await this.mustShow('Overview')
  }

  /** Follows a link of the menu. */
  async go (name) {
    const menu = this.page.getByRole('navigation')
    if (!await menu.getByRole('link', { name, exact: true }).isVisible()) {
      await this.page.getByRole('button', { name: 'Menu' }).click()
    }
    await menu.getByRole('link', { name, exact: true }).click()
    await this.mustShow(name)
  }

  /** The page with that title. */
  async mustShow (title) {
    await this.page.getByRole('heading', { level: 1, name: title, exact: true }).waitFor()
  }

  /** The row of a table that has this text. */
  row (text) {
    return this.page.getByRole('row').filter({ hasText: text })
  }

  /** The dialog that was opened last. */
  dialog () {
    return this.page.getByRole('dialog').last()
  }

  async confirm (name) {
    const dialog = await this.dialog().elementHandle()
    await this.dialog().getByRole('button', { name, exact: true }).click()
    await dialog.waitForElementState('hidden')
  }

  /** No serious fault for those who use it otherwise than with eyes and a mouse. */
  async mustBeAccessible (what) {
    // Moving things are judged when they stand.
    await this.page.evaluate(() => Promise.allSettled(document.getAnimations()
      .filter(a => a.effect?.getComputedTiming().iterations !== Infinity).map(a => a.finished)))
    await this.page.evaluate(fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'))
    const faults = await this.page.evaluate(async () => {
      /* global axe */
      const { violations } = await axe.run(document, { resultTypes: ['violations'] })
      return violations.filter(v => ['serious', 'critical'].includes(v.impact))
        .map(v => `${v.id}: ${v.nodes.map(n => `${n.target} ${n.failureSummary}`).join('\n  ')}`)
    })
    assert.deepEqual(faults, [], `${what}\n${faults.join('\n')}`)
  }

  /** Keeps what the page looks like. */
  async picture (what) {
    fs.mkdirSync(this.given.out, { recursive: true })
    const file = path.join(this.given.out, `${this.name}-${what}.png`)
    await this.page.screenshot({ path: file }).catch(error => console.error(`no picture: ${error.message}`))
  }

  async close () {
    await this.chromium.close()
    fs.rmSync(this.profile, { recursive: true, force: true })
  }
}

/** The hash of a certificate's public key, as Chromium wants it. */
function keyHash (file) {
  const { publicKey } = new crypto.X509Certificate(fs.readFileSync(file))
  return crypto.createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64')
}

module.exports = { Browser, ADMIN, PASSWORD, WAIT }
