// Every page, in Chinese and dark.

const assert = require('node:assert/strict')
const { everyPage } = require('../every_page.js')

module.exports = given => everyPage(given, '中文', 'zh', 'Dark', titles => {
  // But for what has the same name in any language.
  const latin = titles.filter(title => /^[\x20-\x7e]*$/.test(title))
  assert.deepEqual(latin.filter(title => !['WebSocket', 'HTTP API'].includes(title)), [])
})
