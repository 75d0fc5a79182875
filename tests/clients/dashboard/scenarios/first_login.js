// The default password lets nobody do anything but change it; then everything.

const assert = require('node:assert/strict')
const { PASSWORD } = require('../browser.js')

module.exports = async ({ browser, page: base }) => {
  const { page } = browser
  await browser.visit('/clients')
  await browser.picture('login')
  await browser.mustBeAccessible('login')

  // A wrong password is said, and nothing of who exists.
  await browser.fillLogin('not it')
  const wrong = page.getByRole('alert').filter({ hasText: 'Wrong user name or password' })
  await wrong.waitFor()
  await browser.fillLogin('not it', 'nobody')
  await wrong.waitFor()

  // With the default password only a new one can be chosen.
  await browser.fillLogin('public')
  await page.getByRole('heading', { name: 'Choose a password' }).waitFor()
  await browser.picture('choose')
  await browser.mustBeAccessible('choose a password')
  const save = page.getByRole('button', { name: 'Save password' })
  const first = page.getByLabel('New password', { exact: true })
  const again = page.getByLabel('Repeat new password')
  await first.fill('short')
  await again.fill('short')
  await save.click()
  await page.getByText('Use at least 8 characters.').waitFor()
  await first.fill(PASSWORD)
  await again.fill(`${PASSWORD}?`)
  await save.click()
  await page.getByText('The two entries differ.').waitFor()
  // Going elsewhere does not help.
  await browser.visit('/users')
  await page.getByRole('heading', { name: 'Choose a password' }).waitFor()
  await first.fill(PASSWORD)
  await again.fill(PASSWORD)
  await save.click()
  await page.getByRole('navigation').waitFor()

  // The former one is gone, for the pages and for scripts.
  const basic = password => ({ Authorization: `Basic ${Buffer.from(`admin:${password}`).toString('base64')}` })
  const status = async password =>
    (await fetch(new URL('api/v2/management/nodes', base), { headers: basic(password) })).status
  assert.equal(await status('public'), 401)
  assert.equal(await status(PASSWORD), 200)

  // A login that is not remembered ends with the page's session, and by hand.
  await page.getByRole('button', { name: 'Account of admin' }).click()
  await page.getByRole('menuitem', { name: 'Log out' }).click()
  await page.getByRole('button', { name: 'Log in' }).waitFor()
  await browser.visit('/clients')
  await browser.fillLogin('public')
  await wrong.waitFor()
  await browser.fillLogin(PASSWORD)
  // Where one wanted to go in the first place.
  await browser.mustShow('Clients')
  await page.reload()
  await browser.mustShow('Clients')
}
