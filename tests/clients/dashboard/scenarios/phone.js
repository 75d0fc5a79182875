// The menu and the lists on a narrow screen: nothing is wider than it, and nothing is out of sight.

const assert = require('node:assert/strict')
const { PAGES } = require('../pages.js')

module.exports = async ({ browser, clients }) => {
  await clients.connect('a-client-with-a-name-that-is-much-longer-than-a-telephone-is-wide')
  await browser.fresh({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true })
  await browser.firstLogin()
  const { page } = browser
  for (const [name] of PAGES) {
    await browser.go(name)
    const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth])
    assert.ok(wide <= screen, `${name} is ${wide} pixels wide on a screen of ${screen}`)
    if (['Overview', 'Clients', 'Plugins'].includes(name)) {
      await browser.picture(name.toLowerCase())
      await browser.mustBeAccessible(`${name} on a phone`)
    }
  }
  // All of a row is on the screen, and it is still a row for those who do not see it.
  await browser.go('Clients')
  const row = browser.row('a-client-with-a-name')
  for (const shown of [row.getByRole('cell', { name: 'MQTT 3.1.1' }), row.getByRole('button', { name: /^Disconnect/ })]) {
    const { x, width } = await shown.boundingBox()
    assert.ok(x >= 0 && x + width <= 360, `from ${x} on ${width} pixels`)
  }
  await page.getByRole('columnheader', { name: /^ClientId/ }).getByRole('button').click()
  await page.getByRole('columnheader', { name: /^ClientId/ }).and(page.locator('[aria-sort=ascending]')).waitFor()
}
