// ACL and authentication are asked; the log level; traces.

const assert = require('node:assert/strict')
const { ctl, eventually } = require('../ctl.js')

module.exports = async ({ browser, clients, bin }) => {
  const { page } = browser
  await browser.firstLogin()
  await browser.go('Access tester')
  const ask = async (topic, result) => {
    await page.getByLabel('Client ID').first().fill('c1')
    await page.getByLabel('Topic', { exact: true }).fill(topic)
    await page.getByRole('button', { name: 'Test', exact: true }).click()
    await page.getByText(result, { exact: true }).first().waitFor()
  }
  await ask('allowed/x', 'Allowed')
  await ask('denied/x', 'Denied')
  await page.getByText('acl_internal').first().waitFor()
  await page.getByText(/line 1: /).first().waitFor()
  await browser.picture('acl')
  await page.getByRole('tab', { name: 'Login' }).click()
  await page.getByLabel('Client ID').last().fill('c1')
  await page.getByRole('button', { name: 'Test', exact: true }).last().click()
  await page.getByText('mqtt.allow_anonymous').first().waitFor()

  await browser.go('Logging')
  await page.getByRole('radio', { name: /warning/i }).or(page.getByLabel('Log level')).first().waitFor()
  await browser.picture('logging')

  await browser.go('Traces')
  await page.getByLabel('Client ID').fill('watched')
  await page.getByRole('button', { name: 'Start', exact: true }).click()
  await browser.row('watched').waitFor()
  const watched = await clients.connect('watched')
  await watched.publishAsync('seen/in/the/trace', 'x', { qos: 1 })
  await browser.row('watched').getByRole('button', { name: 'Show the trace of watched' }).click()
  await page.getByText('seen/in/the/trace').first().waitFor()
  await browser.picture('trace')
  await page.keyboard.press('Escape')
  await browser.row('watched').getByRole('button', { name: 'Stop the trace of watched' }).click()
  await browser.confirm('Stop')
  await eventually('the trace ends', () => !ctl(bin, 'trace', 'list').includes('watched'))
  assert.equal(watched.connected, true)
}
