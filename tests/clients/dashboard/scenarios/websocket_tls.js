// The page over HTTPS and MQTT over TLS in its WebSocket tool, in a browser that believes the certificate.

const assert = require('node:assert/strict')
const { ctl } = require('../ctl.js')

module.exports = async ({ browser, clients, bin, wss, ws }) => {
  const { page } = browser
  assert.match(browser.given.page, /^https:/)
  const other = await clients.connect('other')
  await other.subscribeAsync('from/#', { qos: 1 })
  await browser.firstLogin()
  await browser.go('WebSocket')
  // A page that came by TLS begins with TLS, and knows where.
  assert.equal(await page.getByLabel('SSL').isChecked(), true)
  await page.waitForFunction(port => document.querySelector('input[name=port]').value === port, `${wss}`)
  await page.getByLabel('Client ID', { exact: true }).fill('the tool')
  await page.getByRole('button', { name: 'Connect', exact: true }).click()
  await page.getByText(`Connected to wss://127.0.0.1:${wss}/mqtt`).waitFor()
  assert.match(ctl(bin, 'clients', 'show', 'the tool'), /Client\(the tool/)
  await page.getByLabel('Topic to publish to').fill('from/page')
  const came = clients.next(other)
  await page.getByRole('button', { name: 'Publish', exact: true }).click()
  assert.equal((await came).payload, 'Hello world!')
  await page.getByLabel('Topic to subscribe to').fill('to/page')
  await page.getByRole('button', { name: 'Subscribe', exact: true }).click()
  await page.getByRole('button', { name: 'Cancel the subscription to to/page' }).waitFor()
  await other.publishAsync('to/page', 'over TLS', { qos: 1 })
  await page.getByRole('region', { name: 'Received' }).getByText('over TLS').waitFor()
  await browser.picture('talk')

  // What does not speak TLS is not MQTT over TLS; the certificate may be the reason, and can be looked at.
  await page.getByRole('button', { name: 'Disconnect', exact: true }).click()
  await page.getByLabel('Port').fill(`${ws}`)
  await page.getByRole('button', { name: 'Connect', exact: true }).click()
  await page.getByRole('alert').filter({ hasText: `open https://127.0.0.1:${ws}/mqtt in a new tab` }).waitFor()
}
