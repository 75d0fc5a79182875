// The broker restarts while the page is open: it is said, and afterwards the page goes on, still logged in.

const { execFileSync } = require('node:child_process')
const path = require('node:path')

module.exports = async ({ browser, clients, bin }) => {
  const { page } = browser
  await browser.firstLogin()
  await browser.go('Clients')
  await clients.connect('before')
  await browser.row('before').waitFor()
  execFileSync(path.join(bin, 'emqttd'), ['restart'], { encoding: 'utf8' })
  await browser.row('before').waitFor({ state: 'detached' })
  await clients.connect('after')
  await browser.row('after').waitFor()
  await browser.mustShow('Clients')
  await page.getByText('The broker does not answer.').waitFor({ state: 'detached' })

  // Down for good, for a while: nothing on the page pretends otherwise.
  await page.route('**/api/v2/**', route => route.abort())
  await page.getByText('The broker does not answer.').first().waitFor({ timeout: 40000 })
  await browser.picture('away')
  await page.unroute('**/api/v2/**')
  await page.getByText('The broker does not answer.').first().waitFor({ state: 'detached', timeout: 40000 })
  await clients.connect('later')
  await browser.row('later').waitFor()
}
