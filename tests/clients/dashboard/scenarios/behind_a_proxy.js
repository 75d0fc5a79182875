// Below a path of another server: everything is found, and the default password is worth nothing to who comes that way.

const assert = require('node:assert/strict')
const { once } = require('node:events')
const http = require('node:http')
const { PASSWORD } = require('../browser.js')
const { ctl } = require('../ctl.js')

const BELOW = '/iot/broker/'

module.exports = async ({ browser, clients, bin, page: broker }) => {
  const { hostname, port } = new URL(broker)
  const strays = []
  const proxy = http.createServer((request, response) => {
    if (!request.url.startsWith(BELOW)) {
      strays.push(request.url)
      return response.writeHead(404).end()
    }
    const headers = { ...request.headers, 'x-forwarded-for': '203.0.113.7' }
    const path = request.url.slice(BELOW.length - 1)
    const onward = http.request({ hostname, port, path, method: request.method, headers }, answer => {
      response.writeHead(answer.statusCode, answer.headers)
      response.flushHeaders()
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    response.on('close', () => onward.destroy())
    request.pipe(onward)
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  browser.given.page = `http://127.0.0.1:${proxy.address().port}${BELOW}`
  try {
    const { page } = browser
    await browser.visit()
    await browser.fillLogin('public')
    await page.getByRole('alert').filter({ hasText: 'emqttd_ctl admins passwd' }).waitFor()
    await browser.picture('refused')
    ctl(bin, 'admins', 'passwd', 'admin', PASSWORD)
    await browser.fillLogin(PASSWORD)
    await browser.mustShow('Overview')
    await browser.go('Clients')
    await clients.connect('seen through the proxy')
    await browser.row('seen through the proxy').waitFor()
    await browser.row('seen through the proxy').getByRole('button', { name: /^Disconnect/ }).click()
    await browser.confirm('Disconnect')
    await browser.row('seen through the proxy').waitFor({ state: 'detached' })
    await browser.go('HTTP API')
    // Browsers ask for this one by themselves.
    assert.deepEqual(strays.filter(url => url !== '/favicon.ico'), [])
  } finally {
    proxy.closeAllConnections()
    proxy.close()
  }
}
