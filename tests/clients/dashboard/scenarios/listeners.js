// A listener is stopped and started; who comes is counted.

const assert = require('node:assert/strict')
const { ctl } = require('../ctl.js')

module.exports = async ({ browser, clients, bin, mqtt }) => {
  const { page } = browser
  await browser.firstLogin()
  await browser.go('Listeners')
  const name = `mqtt:tcp 127.0.0.1:${mqtt}`
  const row = browser.row('mqtt:tcp')
  await row.getByText(`127.0.0.1:${mqtt}`).waitFor()
  const client = await clients.connect('counted')
  // Live: nobody reloads.
  await row.getByRole('cell', { name: '1', exact: true }).waitFor()
  await browser.row('dashboard:http').getByText('this page').waitFor()
  await browser.picture('list')

  await row.getByRole('button', { name: `Stop ${name}` }).click()
  await browser.confirm('Stop')
  await row.getByText('Stopped').waitFor()
  assert.ok(!ctl(bin, 'listeners').includes('mqtt:tcp'))
  assert.equal(client.connected, false)
  await assert.rejects(clients.connect('too late'))
  await row.getByRole('button', { name: `Start ${name}` }).click()
  await row.getByText('Running').waitFor()
  await clients.connect('again')

  // One is warned before the own listener is closed, and may think better of it.
  await browser.row('dashboard:http').getByRole('button', { name: /^Stop/ }).click()
  await browser.dialog().getByText('You will lose this page').waitFor()
  await browser.dialog().getByRole('button', { name: 'Cancel' }).click()
  await page.getByRole('heading', { level: 1, name: 'Listeners' }).waitFor()
}
