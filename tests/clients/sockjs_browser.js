// sockjs-client and stompjs in a headless Chromium:
//
//   node sockjs_browser.js <chromium> transports <SockJS URL> <page> <base> <transport>...
//   node sockjs_browser.js <chromium> demo <page> <transport>
//
// `transports`: on that page, STOMP over each transport; an MQTT client answers each message to <base>/up with the
// same to <base>/down. `demo`: on the demo page of the plugin, by clicking; its transport has to be that, and an MQTT
// client answers "from the browser" at /queue/test with "to the browser". Prints "ok", or ends with an error.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { chromium } = require('playwright-core')

const [executablePath, what, ...rest] = process.argv.slice(2)
const wait = 40000

async function transports (browser, url, pageUrl, base, names) {
  // Pages may forbid scripts that are not their own.
  const context = await browser.newContext({ bypassCSP: true })
  const modules = process.env.NODE_PATH
  for (const name of names) {
    // Each on a fresh page: some transports leave things behind.
    const page = await context.newPage()
    page.setDefaultTimeout(wait)
    const said = []
    page.on('console', message => said.push(message.text()))
    page.on('pageerror', error => said.push(String(error)))
    await page.goto(pageUrl)
    for (const file of ['sockjs-client/dist/sockjs.min.js', '@stomp/stompjs/bundles/stomp.umd.min.js']) {
      await page.addScriptTag({ path: path.join(modules, file) })
    }
    const result = await page.evaluate(conversation, { url, name, base, wait })
      .catch(error => error.message)
    if (result !== 'ok') throw new Error(`${name} on ${pageUrl}: ${result}\n${said.join('\n')}`)
    await page.close()
  }
}

/** In the page. */
async function conversation ({ url, name, base, wait }) {
  /* global SockJS, StompJs */
  let sock
  const limit = (promise, what) => Promise.race([
    promise,
    new Promise((resolve, reject) => setTimeout(() => reject(new Error(`${what} did not come`)), wait))
  ])
  const client = new StompJs.Client({
    webSocketFactory: () => {
      sock = new SockJS(url, null, name === 'any' ? {} : { transports: [name] })
      return sock
    },
    connectHeaders: { login: 'guest', passcode: 'guest' },
    reconnectDelay: 0,
    heartbeatIncoming: 0,
    heartbeatOutgoing: 0
  })
  await limit(new Promise((resolve, reject) => {
    client.onConnect = resolve
    client.onStompError = frame => reject(new Error(frame.body))
    client.onWebSocketClose = event => reject(new Error(`closed: ${event.code} ${event.reason}`))
    client.activate()
  }), 'CONNECTED')
  const wanted = name === 'any' ? 'websocket' : name
  if (sock.transport !== wanted) throw new Error(`transport ${sock.transport}`)
  const got = []
  let more = () => {}
  await limit(new Promise(resolve => {
    client.watchForReceipt('sub', resolve)
    client.subscribe(`${base}/down`, message => { got.push(message.body); more() }, { receipt: 'sub' })
  }), 'receipt')
  const bodies = ['small', 'ünï </script> %25 %zz \u2028 \u200f \ufffe \u{1f600}', 'x'.repeat(8000)]
  for (let n = 0; n < 20; n++) bodies.push(`number ${n}`)
  for (const body of bodies) client.publish({ destination: `${base}/up`, body })
  await limit(new Promise(resolve => {
    more = () => { if (got.length === bodies.length) resolve() }
    more()
  }), `message ${got.length}`)
  for (const n in bodies) if (got[n] !== bodies[n]) throw new Error(`${bodies[n]} wanted, got ${got[n]}`)
  client.onWebSocketClose = () => {}
  await limit(client.deactivate(), 'the end')
  return 'ok'
}

async function demo (browser, url, transport) {
  const page = await browser.newPage()
  page.setDefaultTimeout(wait)
  const complaints = []
  page.on('pageerror', error => complaints.push(String(error)))
  page.on('requestfailed', request => {
    const why = request.failure().errorText
    // What it gives up itself, when it disconnects.
    if (why !== 'net::ERR_ABORTED') complaints.push(`${request.url()}: ${why}`)
  })
  await page.goto(url)
  // Everything comes from the plugin.
  const loaded = await page.evaluate(() => performance.getEntriesByType('resource').map(entry => entry.name))
  for (const name of loaded) if (!name.startsWith(url)) throw new Error(`${name} is from elsewhere`)
  // Closed before it is open: it is never open, not even when another one is that began later.
  const late = await page.evaluate(() => new Promise((resolve, reject) => {
    const events = []
    const first = new SockJS('/stomp')
    first.onopen = () => events.push('open')
    first.onclose = event => events.push(event.code)
    first.close()
    const second = new SockJS('/stomp')
    second.onclose = reject
    second.onopen = () => setTimeout(() => {
      second.onclose = null
      second.close()
      resolve([...events, first.readyState].join())
    }, 300)
  }))
  if (late !== '1000,3') throw new Error(`closed before it is open: ${late}`)
  const shown = text => page.waitForFunction(text => document.body.innerText.includes(text), text)
  await page.fill('#passcode', 'wrong')
  await page.click('#connect')
  await shown('Login or passcode error!')
  await page.waitForFunction(() => !document.querySelector('#connect').disabled)
  await page.fill('#login', 'guest')
  await page.fill('#passcode', 'guest')
  await page.click('#connect')
  await shown(`connected by ${transport}`)
  await page.fill('#body', 'from the browser')
  await page.click('#send')
  await shown('/queue/test: to the browser')
  await page.click('#disconnect')
  await shown('closed: 1000 Normal closure')
  if (complaints.length > 0) throw new Error(complaints.join('\n'))
}

async function main () {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'emqttd-browser-'))
  const browser = await chromium.launch({
    executablePath,
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking'],
    env: { ...process.env, HOME: dir, XDG_CONFIG_HOME: dir, XDG_CACHE_HOME: dir }
  })
  try {
    if (what === 'demo') await demo(browser, ...rest)
    else await transports(browser, rest[0], rest[1], rest[2], rest.slice(3))
  } finally {
    await browser.close()
    fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  }
  console.log('ok')
}

main().catch(error => { console.error(error); process.exit(1) })
