// The menu and the lists on a narrow screen: nothing is wider than it.

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
    if (['Overview', 'Clients', 'Plugins'].includes(name)) await browser.picture(name.toLowerCase())
  }
}
