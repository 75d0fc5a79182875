// The API is documented, and tried.

const assert = require('node:assert/strict')

module.exports = async ({ browser, clients }) => {
  const { page } = browser
  await clients.connect('shown by the API')
  await browser.firstLogin()
  await browser.go('HTTP API')
  await page.getByText('api/v2/mqtt/publish').first().waitFor()
  await browser.picture('list')
  await page.getByLabel('Search the API').fill('management/nodes')
  await page.getByRole('button', { name: /GET .*management\/nodes$/ }).click()
  await page.getByRole('button', { name: 'Send', exact: true }).click()
  await page.getByText(/Status 200/).waitFor()
  await page.getByText('"node_status"').first().waitFor()
  await page.getByText(/curl .*management\/nodes/).first().waitFor()
  await browser.picture('tried')
  await browser.mustBeAccessible('an operation')
  const answer = await page.request.get(new URL('api/v2/openapi.json', page.url()).href)
  const { paths } = await answer.json()
  assert.ok(Object.keys(paths).length > 60)
}
