// Several tabs, and one user after the other: who has left leaves nothing, and nobody is logged out by a renewal.

const assert = require('node:assert/strict')
const { PASSWORD } = require('../browser.js')

module.exports = async ({ browser, clients, ws }) => {
  const { page } = browser
  await browser.firstLogin()
  await clients.connect('somebody')

  // Kept on the device: another tab is logged in too.
  await logOut(page)
  await page.getByLabel('Remember me on this device').check()
  await browser.fillLogin(PASSWORD)
  await browser.mustShow('Overview')
  const other = await browser.context.newPage()
  await other.goto(new URL('#/users', browser.given.page).href)
  await other.getByRole('heading', { level: 1, name: 'Users' }).waitFor()

  // A renewal in the one is no logout in the other, which goes on with the new token.
  await page.evaluate(() => {
    window.saw = false
    new MutationObserver(() => { window.saw ||= document.querySelector('input[name=password]') !== null })
      .observe(document.body, { subtree: true, childList: true })
  })
  await other.evaluate(() => {
    // Its time to renew has come.
    const late = { ...JSON.parse(localStorage['emqttd.session']), renewAt: 0 }
    localStorage['emqttd.session'] = JSON.stringify(late)
  })
  await other.reload()
  // Either tab may be the one that renews, and the first at once; within a second the token may be the same.
  await page.waitForFunction(() => JSON.parse(localStorage['emqttd.session']).renewAt > 0)
  await browser.go('Clients')
  await browser.row('somebody').waitFor()
  assert.equal(await page.evaluate(() => window.saw), false, 'the tab was shown the login')

  // What was typed, and a question that is open.
  await browser.go('WebSocket')
  await page.getByLabel('Port').fill(`${ws}`)
  await page.getByLabel('Password', { exact: true }).fill('a secret of a device')
  await browser.go('Clients')
  await browser.row('somebody').getByRole('button', { name: 'Disconnect' }).click()
  await browser.dialog().waitFor()

  // A logout in the other tab ends this one, with all of that.
  await logOut(other)
  await page.getByRole('button', { name: 'Log in' }).waitFor()
  await browser.fillLogin(PASSWORD)
  await browser.mustShow('Clients')
  await browser.row('somebody').waitFor()
  assert.equal(await page.getByRole('dialog').count(), 0, 'the question of before')
  await browser.go('WebSocket')
  assert.equal(await page.getByLabel('Password', { exact: true }).inputValue(), '', 'the password of before')

  // What was asked of one page is not answered on another.
  await browser.go('Clients')
  await browser.row('somebody').getByRole('button', { name: 'Disconnect' }).click()
  await browser.dialog().waitFor()
  await page.goBack()
  await browser.mustShow('WebSocket')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await browser.go('Clients')
  await browser.row('somebody').waitFor()

  // A link leads into what it led to, for the keyboard too.
  await page.getByRole('link', { name: 'somebody' }).focus()
  await page.keyboard.press('Enter')
  await browser.mustShow('somebody')
  await page.waitForFunction(() => document.activeElement?.id === 'content')

  // The name of a thing may be what a browser takes for a step between directories: it is said, and nothing else happens.
  await browser.visit('/clients/..')
  await page.getByText('A browser cannot ask for something').waitFor()
}

async function logOut (page) {
  await page.getByRole('button', { name: 'Account of admin' }).click()
  await page.getByRole('menuitem', { name: 'Log out' }).click()
  await page.getByRole('button', { name: 'Log in' }).waitFor()
}
