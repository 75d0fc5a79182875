// The WebSocket tool logs in as who it says, publishes and subscribes.

const assert = require('node:assert/strict')
const { ctl } = require('../ctl.js')

module.exports = async ({ browser, clients, bin, ws }) => {
  const { page } = browser
  const other = await clients.connect('other')
  await other.subscribeAsync('from/#', { qos: 1 })
  await browser.firstLogin()
  await browser.go('WebSocket')
  // Where the broker listens is known.
  const port = want => page.waitForFunction(want => document.querySelector('input[name=port]').value === want, `${want}`)
  await port(ws)
  await page.getByLabel('Client ID', { exact: true }).fill('the tool')
  await page.getByLabel('Username').fill('somebody')
  await page.getByRole('button', { name: 'Connect', exact: true }).click()
  await page.getByText('Connected to').waitFor()
  assert.match(ctl(bin, 'clients', 'show', 'the tool'), /username=somebody/)

  await page.getByLabel('Topic to subscribe to').fill('to/+')
  await page.getByRole('button', { name: 'Subscribe', exact: true }).click()
  await page.getByRole('button', { name: 'Cancel the subscription to to/+' }).waitFor()
  await other.publishAsync('to/page', '<b>hello</b> {"a": 1}', { qos: 1 })
  const received = page.getByRole('region', { name: 'Received' })
  // As text: what others send is never part of the page.
  await received.getByText('<b>hello</b> {"a": 1}').waitFor()

  await page.getByLabel('Topic to publish to').fill('from/page')
  await page.getByLabel('Payload', { exact: true }).fill('häi')
  const came = clients.next(other)
  await page.getByRole('button', { name: 'Publish', exact: true }).click()
  assert.deepEqual(await came, { topic: 'from/page', payload: 'häi', qos: 0, retain: false })
  await page.getByRole('region', { name: 'Sent' }).getByText('häi').waitFor()
  await browser.picture('talk')
  await browser.mustBeAccessible('websocket')

  await page.getByRole('button', { name: 'Clear received messages' }).click()
  await received.getByText('Nothing received yet.').waitFor()
  await page.getByRole('button', { name: 'Cancel the subscription to to/+' }).click()
  await page.getByText('No subscriptions yet.').waitFor()
  assert.ok(!ctl(bin, 'subscriptions', 'list').includes('to/+'))

  // Whoever is thrown out sees it.
  ctl(bin, 'clients', 'kick', 'the tool')
  await page.getByText('The connection was lost.').or(page.getByText('ended the connection')).first().waitFor()

  // There is no way in by the name of the dashboard: who is not let in is told why.
  ctl(bin, 'set', 'mqtt.allow_anonymous=false', '--app=emqttd')
  await page.getByLabel('Client ID', { exact: true }).fill('dashboard_1')
  await page.getByLabel('Username').fill('dashboard')
  await page.getByRole('button', { name: 'Connect', exact: true }).click()
  await page.getByText('The broker refused the login').waitFor()
}
