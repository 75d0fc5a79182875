// Every page, in English and light.

const assert = require('node:assert/strict')
const { everyPage } = require('../every_page.js')
const { PAGES } = require('../pages.js')

module.exports = given => everyPage(given, 'English', 'en', 'Light', titles => {
  assert.deepEqual(titles, PAGES.map(([name]) => name))
})
