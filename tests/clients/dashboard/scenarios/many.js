// Ten thousand clients in the list: found, sorted and leafed through without waiting.

const assert = require('node:assert/strict')

const MANY = 10000
const AT_ONCE = 200

module.exports = async ({ browser, clients }) => {
  const { page } = browser
  await browser.firstLogin()
  const name = n => `device-${`${n}`.padStart(5, '0')}`
  for (let n = 0; n < MANY; n += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => clients.connect(name(n + i), { keepalive: 0 })))
  }
  await browser.go('Clients')
  await page.getByText(/10,?000/).first().waitFor()
  await page.getByRole('columnheader', { name: /^ClientId/ }).getByRole('button').click()
  await browser.row(name(0)).waitFor()
  await page.getByRole('button', { name: 'Next page' }).click()
  await browser.row(name(0)).waitFor({ state: 'detached' })
  await browser.picture('second')
  await page.getByRole('button', { name: 'Previous page' }).click()
  await browser.row(name(0)).waitFor()
  await page.getByRole('columnheader', { name: /^ClientId/ }).getByRole('button').click()
  await browser.row(name(MANY - 1)).waitFor()
  const search = page.getByRole('searchbox').or(page.getByLabel('Search', { exact: true })).first()
  const begin = Date.now()
  await search.fill('ICE-0777')
  await browser.row(name(7770)).waitFor()
  const took = Date.now() - begin
  console.log(`a search among ${MANY}: ${took} ms until it was seen`)
  assert.equal(await page.getByRole('row').filter({ hasText: 'device-' }).count(), 10)
  await browser.picture('found')
}
