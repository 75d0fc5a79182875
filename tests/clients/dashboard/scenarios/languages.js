// Every page in both languages and both themes, without serious faults of accessibility.

const assert = require('node:assert/strict')
const { PAGES } = require('../pages.js')

module.exports = async ({ browser, clients }) => {
  const client = await clients.connect('somebody', { username: 'alice', clean: false })
  await client.subscribeAsync(['a/#', '$share/g/b'], { qos: 1 })
  await client.publishAsync('a/retained', 'x', { qos: 1, retain: true })
  await browser.firstLogin()
  for (const [language, theme] of [['English', 'Light'], ['中文', 'Dark']]) {
    const { page } = browser
    await choose(page, /^(Theme|主题)/, { Light: /^(Light|浅色)/, Dark: /^(Dark|深色)/ }[theme])
    await choose(page, /^(Language|语言)/, language)
    await page.locator(`html[lang^="${language === 'English' ? 'en' : 'zh'}"]`).waitFor({ state: 'attached' })
    const titles = []
    for (const [name, address] of [...PAGES, ['Client', '/clients/somebody'], ['Plugin', '/plugins/emq_retainer']]) {
      await browser.visit(address)
      await page.getByRole('heading', { level: 1 }).waitFor()
      await page.waitForLoadState('networkidle', { timeout: 2000 }).catch(() => {})
      titles.push(await page.getByRole('heading', { level: 1 }).innerText())
      await browser.picture(`${theme}-${name}`.toLowerCase().replaceAll(' ', '-'))
      await browser.mustBeAccessible(`${name} in ${language}, ${theme}`)
    }
    if (language === 'English') {
      assert.deepEqual(titles.slice(0, PAGES.length), PAGES.map(([name]) => name))
    } else {
      // But for names that are names in any language.
      const kept = titles.filter(title => /^[\x20-\x7e]*$/.test(title))
      assert.ok(kept.length <= 5, `not in Chinese: ${kept}`)
    }
  }
  // Both are remembered.
  await browser.page.reload()
  await browser.page.locator('html[lang^="zh"]').waitFor({ state: 'attached' })
}

async function choose (page, control, entry) {
  await page.getByRole('button', { name: control }).first().click()
  await page.getByRole('menuitem', { name: entry }).or(page.getByRole('menuitemradio', { name: entry })).first().click()
}
