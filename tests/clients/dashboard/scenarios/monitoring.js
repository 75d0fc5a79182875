// Overview with its charts; clients that come and go while one looks; sessions, subscriptions, topics, alarms.

const assert = require('node:assert/strict')
const { ctl } = require('../ctl.js')

module.exports = async ({ browser, clients, bin }) => {
  const { page } = browser
  await browser.firstLogin()
  await page.getByText('emq@127.0.0.1').first().waitFor()
  await page.locator('canvas').first().waitFor()

  await browser.go('Clients')
  const odd = await clients.connect('odd/id %41 ü<b>#1', { username: 'alice' })
  await clients.connect('plain', { clean: false, protocolVersion: 5, properties: { sessionExpiryInterval: 3600 } })
  await clients.connect('other')
  // They appear by themselves, with what the sheet of EMQ shows of them.
  const row = browser.row('odd/id %41 ü<b>#1')
  await row.waitFor()
  assert.match(await row.innerText(), /alice/)
  for (const name of ['ClientId', 'Username', 'IP Address', 'Port', 'Clean Session', 'Protocol Version', 'Connected At']) {
    await page.getByRole('columnheader', { name: new RegExp(`^${name}`) }).waitFor()
  }
  await browser.picture('clients')
  await page.getByRole('searchbox').or(page.getByLabel('Search', { exact: true })).first().fill('LAI')
  await browser.row('plain').waitFor()
  await row.waitFor({ state: 'detached' })
  await page.getByRole('button', { name: 'Clear search' }).click()
  await row.waitFor()
  // And go.
  await odd.endAsync()
  await row.waitFor({ state: 'detached' })
  await browser.row('other').getByRole('button', { name: /^Disconnect/ }).click()
  await browser.confirm('Disconnect')
  await browser.row('other').waitFor({ state: 'detached' })
  assert.ok(!ctl(bin, 'clients', 'list').includes('Client(other'))

  const subscriber = await clients.connect('subscriber', { clean: false })
  await subscriber.subscribeAsync('a/+/topic', { qos: 1 })
  await subscriber.endAsync()
  const publisher = await clients.connect('publisher')
  for (const n of [1, 2, 3]) await publisher.publishAsync('a/b/topic', `${n}`, { qos: 1 })

  await browser.go('Sessions')
  const session = browser.row('subscriber')
  await session.getByRole('cell', { name: '3', exact: true }).first().waitFor()
  await browser.picture('sessions')
  await browser.go('Subscriptions')
  await browser.row('subscriber').getByText('a/+/topic').waitFor()
  await browser.go('Topics')
  await browser.row('a/+/topic').getByText('emq@127.0.0.1').waitFor()

  // The default password is changed: no alarm. One comes, and is history when it goes.
  await browser.go('Alarms')
  const active = page.getByRole('table').first().getByText('has the default password')
  await active.waitFor({ state: 'detached' })
  ctl(bin, 'admins', 'add', 'careless', 'public')
  await active.waitFor()
  await browser.picture('alarms')
  ctl(bin, 'admins', 'del', 'careless')
  await active.waitFor({ state: 'detached' })
  assert.equal(await page.getByText('has the default password').count(), 2)

  await browser.go('Overview')
  await browser.picture('overview')
}
