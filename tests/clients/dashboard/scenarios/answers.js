// Answers that come late, or are refusals: the page shows neither what is old for new nor what belongs to another question.

const assert = require('node:assert/strict')
const { PASSWORD } = require('../browser.js')
const { ctl } = require('../ctl.js')

module.exports = async ({ browser, clients, bin, page: base }) => {
  const { page } = browser
  const basic = password => ({ Authorization: `Basic ${Buffer.from(`admin:${password}`).toString('base64')}` })
  await browser.firstLogin()
  await clients.connect('somebody')

  // Rows that cannot be asked for anew stay, and it is said why they do not follow.
  await browser.go('Clients')
  await browser.row('somebody').waitFor()
  const refused = route => route.fulfill({ status: 500, contentType: 'application/json', body: '{"code":102,"message":"the disk is on fire"}' })
  await page.route('**/search/clients*', refused)
  await page.getByRole('alert').filter({ hasText: 'the disk is on fire' }).waitFor()
  assert.ok(await browser.row('somebody').isVisible())
  await page.unroute('**/search/clients*', refused)
  await page.getByText('the disk is on fire').waitFor({ state: 'detached' })

  // A count is read out when it answers a question, not each time the list follows.
  const said = page.getByRole('status').filter({ hasText: 'in all' })
  assert.equal(await said.innerText(), '1 in all')
  await clients.connect('another')
  await browser.row('another').waitFor()
  await page.getByText('2 in all').waitFor()
  assert.equal(await said.innerText(), '1 in all')

  // An order that no column has, and a page that no link names.
  await browser.visit('/clients?sort=-nothing&limit=7')
  await page.reload()
  await browser.row('somebody').waitFor()

  // What stands in the address may be anything: it comes back as it was.
  const odd = 'odd %41%2F&?=;ü %/x'
  const other = await clients.connect('of odd things')
  await other.subscribeAsync(odd)
  await other.subscribeAsync('even/x')
  await browser.go('Topics')
  await browser.row(odd).getByRole('link', { name: `Subscriptions to ${odd}` }).click()
  await browser.mustShow('Subscriptions')
  assert.equal(await page.getByLabel('Topic', { exact: true }).inputValue(), odd)
  await browser.row(odd).getByText('of odd things').waitFor()
  await page.reload()
  await browser.row(odd).getByText('of odd things').waitFor()
  assert.equal(await page.getByText('even/x').count(), 0)

  // The answer to a question that was changed meanwhile.
  await browser.go('Access tester')
  let letGo
  const late = new Promise(resolve => { letGo = resolve })
  await page.route('**/test/acl', async route => {
    await late
    await route.continue()
  })
  await page.getByLabel('Client ID').fill('somebody')
  await page.getByLabel('Topic', { exact: true }).fill('allowed/topic')
  await page.getByRole('button', { name: 'Test', exact: true }).click()
  await page.getByLabel('Topic', { exact: true }).fill('denied/topic')
  const answered = page.waitForResponse('**/test/acl')
  letGo()
  await (await answered).finished()
  await page.unroute('**/test/acl')
  await page.getByLabel('Topic', { exact: true }).fill('denied/other')
  assert.equal(await page.getByText('Result').count(), 0)
  await page.getByRole('button', { name: 'Test', exact: true }).click()
  await page.getByText('Denied', { exact: true }).waitFor()

  // How long ago, or until then, by the clock of the broker: that of this browser is an hour fast.
  const ban = { kind: 'client_id', value: 'for half an hour', seconds: 1800 }
  const made = await fetch(new URL('api/v2/bans', base), {
    method: 'POST', headers: { ...basic(PASSWORD), 'Content-Type': 'application/json' }, body: JSON.stringify(ban)
  })
  assert.equal(made.status, 200)
  await browser.go('Bans')
  await browser.row('for half an hour').getByText(/^in (29|30) min/).waitFor()
  await page.addInitScript(() => {
    const { now } = Date
    Date.now = () => now() + 3600000
  })
  await page.reload()
  // A login of a quarter of an hour is long over for such a clock.
  await browser.fillLogin(PASSWORD)
  await browser.row('for half an hour').getByText(/^in (28|29|30) min/).waitFor()

  // A log that cannot be read here is not offered.
  ctl(bin, 'trace', 'client', 'somebody', 'log/of_somebody.log')
  await browser.go('Traces')
  await browser.row('somebody').getByText('it cannot be read here').waitFor()
  assert.equal(await browser.row('somebody').getByRole('button', { name: 'Show' }).count(), 0)
}
