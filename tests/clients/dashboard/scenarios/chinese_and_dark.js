// Every page, in Chinese and dark.

const assert = require('node:assert/strict')
const { everyPage } = require('../every_page.js')

const isLatin = text => /^[\x20-\x7e]*$/.test(text)

module.exports = async given => {
  await everyPage(given, '中文', 'zh', 'Dark', titles => {
    // But for what has the same name in any language.
    assert.deepEqual(titles.filter(title => isLatin(title) && !['WebSocket', 'HTTP API'].includes(title)), [])
  })
  // Each plugin that is shipped says what it is.
  const { browser } = given
  await browser.visit('/plugins')
  await browser.row('emq_retainer').waitFor()
  const said = await browser.page.getByRole('cell').and(browser.page.locator('[data-wrap]')).allInnerTexts()
  assert.ok(said.length > 15, `${said.length} plugins`)
  assert.deepEqual(said.filter(isLatin), [])
}
