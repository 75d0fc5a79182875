// A client's page: facts, subscriptions, queue, traffic, trace, kick, ban.

const assert = require('node:assert/strict')
const { ctl, eventually } = require('../ctl.js')

const ID = 'meter/7 %41#ü'

module.exports = async ({ browser, clients, bin }) => {
  const { page } = browser
  const client = await clients.connect(ID, { username: 'alice', clean: false, keepalive: 77 })
  await client.subscribeAsync('meters/#', { qos: 1 })
  await browser.firstLogin()
  await browser.go('Clients')
  await page.getByRole('link', { name: ID }).click()
  await page.getByRole('heading', { name: ID }).first().waitFor()
  await page.getByText('alice').first().waitFor()
  await page.getByText('77', { exact: false }).first().waitFor()
  await page.getByText('meters/#').first().waitFor()
  await page.reload()
  await page.getByRole('heading', { name: ID }).first().waitFor()
  await browser.mustBeAccessible('a client')

  // Subscriptions are added and taken away for it.
  await page.getByLabel('Topic filter').fill('commands/+')
  await page.getByRole('button', { name: 'Subscribe', exact: true }).click()
  await eventually('it is subscribed', () => ctl(bin, 'subscriptions', 'show', ID).includes('commands/+'))
  const other = await clients.connect('other')
  const came = clients.next(client)
  await other.publishAsync('commands/now', 'go', { qos: 1 })
  assert.equal((await came).topic, 'commands/now')
  await page.getByRole('button', { name: /^(Unsubscribe|Remove).*commands\/\+/ }).click()
  await browser.dialog().getByRole('button', { name: /Unsubscribe|Remove/ }).click({ timeout: 2000 }).catch(() => {})
  await eventually('it is unsubscribed', () => !ctl(bin, 'subscriptions', 'show', ID).includes('commands/+'))
  await browser.picture('facts')

  // What waits for it while it is away.
  client.end(true)
  await eventually('it is gone', () => !ctl(bin, 'clients', 'list').includes(ID))
  for (const n of [1, 2]) await other.publishAsync(`meters/${n}`, 'value', { qos: 1 })
  await page.getByText('meters/2').first().waitFor()
  await browser.picture('queue')

  // It comes back, and is thrown out for good.
  const again = await clients.connect(ID, { clean: false })
  await page.getByRole('button', { name: 'Disconnect', exact: true }).click()
  await browser.confirm('Disconnect')
  await eventually('it is disconnected', () => !again.connected)
  await page.getByRole('button', { name: 'Ban', exact: true }).click()
  await browser.picture('ban')
  await browser.confirm('Ban')
  await assert.rejects(clients.connect(ID, { clean: false }))
  await browser.go('Bans')
  await browser.row(ID).waitFor()
  await browser.row(ID).getByRole('button', { name: /^Lift/ }).click()
  await browser.dialog().getByRole('button', { name: /^Lift/ }).click()
  await browser.row(ID).waitFor({ state: 'detached' })
  await clients.connect(ID, { clean: false })
}
