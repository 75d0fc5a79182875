// From the login to a client's page and back out, without a mouse.

const assert = require('node:assert/strict')
const { PASSWORD } = require('../browser.js')

module.exports = async ({ browser, clients }) => {
  await clients.connect('by-keyboard')
  await browser.firstLogin()
  await browser.fresh()
  const { page } = browser
  await browser.visit()
  await page.getByRole('button', { name: 'Log in' }).waitFor()
  /** The next thing that has this name, by the tabulator. */
  const tabTo = async (name, most = 80) => {
    for (let n = 0; n < most; n++) {
      await page.keyboard.press('Tab')
      const [text, seen] = await page.evaluate(() => {
        const it = document.activeElement
        const label = it.getAttribute('aria-label') ?? it.labels?.[0]?.innerText ?? it.innerText ?? ''
        const style = getComputedStyle(it)
        const around = it.closest('[data-checked], label, .mantine-Input-wrapper')
        const rings = [style, around && getComputedStyle(around)].filter(Boolean)
        const box = it.getBoundingClientRect()
        return [label.trim(), box.width > 0 && rings.some(s =>
          (s.outlineStyle !== 'none' && s.outlineWidth !== '0px') || s.boxShadow !== 'none' || s.borderColor !== '')]
      })
      if (text.replace(/\s*\*$/, '').startsWith(name)) {
        assert.ok(seen, `nobody sees that ${name} has the focus`)
        return
      }
    }
    throw new Error(`${name} cannot be reached by the tabulator`)
  }
  await page.evaluate(() => document.activeElement?.blur())
  await tabTo('User name')
  await page.keyboard.type('admin')
  await tabTo('Password')
  await page.keyboard.type(PASSWORD)
  await page.keyboard.press('Enter')
  await browser.mustShow('Overview')
  await page.evaluate(() => document.activeElement?.blur())
  // Past what is on every page at once, for those who have it read to them.
  await tabTo('Skip to content', 3)
  // A menu has the focus in it, is walked by the arrows, and gives the focus back.
  await tabTo('Account of admin')
  await page.keyboard.press('Enter')
  const entry = name => page.waitForFunction(name => document.activeElement?.role === 'menuitem' &&
    document.activeElement.innerText === name, name)
  await entry('Change password')
  await browser.mustBeAccessible('the menu of the account')
  await page.keyboard.press('ArrowDown')
  await entry('Log out')
  await page.keyboard.press('Escape')
  await page.waitForFunction(() => document.activeElement?.getAttribute('aria-label') === 'Account of admin')
  await tabTo('Clients')
  await page.keyboard.press('Enter')
  await browser.mustShow('Clients')
  await browser.row('by-keyboard').waitFor()
  await tabTo('by-keyboard')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'by-keyboard' }).first().waitFor()
  await tabTo('Disconnect')
  await page.keyboard.press('Enter')
  await browser.dialog().waitFor()
  // A key held down too long destroys nothing.
  await page.waitForFunction(() => document.activeElement?.textContent === 'Cancel')
  // A dialog keeps the focus, and gives it back.
  for (let n = 0; n < 6; n++) {
    await page.keyboard.press('Tab')
    assert.ok(await page.evaluate(() => document.querySelector('[role=dialog]').contains(document.activeElement)))
  }
  await page.keyboard.press('Escape')
  await browser.dialog().waitFor({ state: 'detached' })
  await page.waitForFunction(() => document.activeElement?.textContent.includes('Disconnect'))
}
