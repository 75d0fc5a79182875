// A plugin is configured, stopped and started; its keys by a form.

const assert = require('node:assert/strict')
const { ctl } = require('../ctl.js')

module.exports = async ({ browser, bin }) => {
  const { page } = browser
  const active = name => ctl(bin, 'plugins', 'list').includes(`Plugin(${name}, `) &&
    new RegExp(`Plugin\\(${name}, .*active=true\\)`).test(ctl(bin, 'plugins', 'list'))
  await browser.firstLogin()
  await browser.go('Plugins')
  const row = browser.row('emq_retainer')
  await row.getByText('Running').waitFor()
  assert.match(await row.innerText(), /EMQ Retainer/)
  await browser.picture('list')

  // The page cannot take itself away.
  assert.equal(await browser.row('emq_dashboard').getByRole('button', { name: /^Stop/ }).isEnabled().catch(() => false), false)

  await row.getByRole('button', { name: 'Stop emq_retainer' }).click()
  await browser.confirm('Stop')
  await row.getByText('Stopped').waitFor()
  assert.equal(active('emq_retainer'), false)
  await row.getByRole('button', { name: 'Start emq_retainer' }).click()
  await row.getByText('Running').waitFor()
  assert.equal(active('emq_retainer'), true)

  // Text and state narrow the list.
  await page.getByLabel('Search plugins').fill('dash')
  await row.waitFor({ state: 'detached' })
  await browser.row('emq_dashboard').waitFor()
  await page.getByLabel('Search plugins').fill('')

  await row.getByRole('link', { name: 'Configure emq_retainer' }).or(row.getByRole('button', { name: 'Configure emq_retainer' })).click()
  const key = page.getByLabel('retainer.max_payload_size')
  await key.waitFor()
  assert.equal(await key.inputValue(), '64KB')
  await browser.picture('configure')
  await key.fill('1KB')
  await page.getByRole('button', { name: 'Save' }).click()
  // What has to stand in the file, for good.
  await page.getByText('retainer.max_payload_size = 1KB').waitFor()
  assert.match(ctl(bin, 'show', 'retainer.max_payload_size', '--app=emq_retainer'), /1024|1KB/)

  // What the plugin does not take changes nothing.
  await key.fill('much')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('alert').filter({ hasText: 'max_payload_size' }).waitFor()
  assert.match(ctl(bin, 'show', 'retainer.max_payload_size', '--app=emq_retainer'), /1024|1KB/)
}
