// @stomp/stompjs against the broker: node stompjs_client.js <url> <1.0|1.1|1.2> <base> [<transport>]
//
// The URL is tcp://host:port, ws://... for STOMP frames in WebSocket messages, or http://... for SockJS over that
// transport. An MQTT client answers each message to <base>/up with the same to <base>/down. Prints "ok", or ends with an error.

const net = require('node:net')
const { Client, Versions } = require('@stomp/stompjs')

const [url, version, base, transport] = process.argv.slice(2)
const wait = 40000

function check (condition, what) {
  if (!condition) throw new Error(`${version}: ${what}`)
}

function limit (promise, what) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${version}: ${what} did not come`)), wait)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** What stompjs needs of a WebSocket, over TCP. */
class TcpSocket {
  constructor (host, port) {
    this.readyState = 0
    this.socket = net.connect({ host, port })
    this.socket.on('connect', () => { this.readyState = 1; this.onopen({}) })
    this.socket.on('data', data => this.onmessage({ data: new Uint8Array(data).buffer }))
    this.socket.on('error', error => this.onerror && this.onerror(error))
    this.socket.on('close', () => {
      this.readyState = 3
      this.onclose({ code: 1000, wasClean: true })
    })
  }

  send (data) { this.socket.write(typeof data === 'string' ? data : new Uint8Array(data)) }
  close () { this.readyState = 2; this.socket.end() }
}

function socket () {
  const { protocol, hostname, port } = new URL(url)
  if (protocol === 'tcp:') return new TcpSocket(hostname, port)
  if (protocol === 'http:') {
    const sock = new (require('sockjs-client'))(url, null, { transports: [transport] })
    sock.addEventListener('open', () => check(sock.transport === transport, `transport ${sock.transport}`))
    return sock
  }
  return new (require('ws'))(url, [`v${version.replace('.', '')}.stomp`])
}

/** Values that somebody awaits. */
class Queue {
  constructor () {
    this.values = []
    this.waiting = []
  }

  push (value) {
    const next = this.waiting.shift()
    if (next) next(value)
    else this.values.push(value)
  }

  next (what) {
    if (this.values.length > 0) return Promise.resolve(this.values.shift())
    return limit(new Promise(resolve => this.waiting.push(resolve)), what)
  }
}

async function open (options = {}) {
  const client = new Client({
    webSocketFactory: socket,
    stompVersions: new Versions([version]),
    connectHeaders: { login: 'guest', passcode: 'guest' },
    reconnectDelay: 0,
    heartbeatIncoming: 0,
    heartbeatOutgoing: 0,
    // STOMP over TCP and SockJS is a stream.
    splitLargeFrames: false,
    ...options
  })
  client.frames = new Queue()
  await limit(new Promise((resolve, reject) => {
    client.onConnect = resolve
    client.onStompError = frame => reject(new Error(frame.body))
    client.onWebSocketError = error => reject(error)
    client.activate()
  }), 'CONNECTED')
  check(client.connectedVersion === version, `version ${client.connectedVersion}`)
  return client
}

let receipts = 0

/** Does that with a receipt, and waits for it. */
async function done (client, what) {
  const receipt = `r${++receipts}`
  const came = new Promise(resolve => client.watchForReceipt(receipt, resolve))
  what({ receipt })
  await limit(came, `receipt ${receipt}`)
}

function subscribe (client, destination, headers) {
  return done(client, receipt => {
    client.subscribe(destination, message => client.frames.push(message), { ...headers, ...receipt })
  })
}

async function message (client, body, destination) {
  const frame = await client.frames.next(body.slice(0, 40))
  check(frame.body === body, `${body.slice(0, 40)} wanted, got ${frame.body.slice(0, 40)}`)
  check(frame.headers.destination === destination, JSON.stringify(frame.headers))
  return frame
}

async function main () {
  const a = await open()
  const b = await open({ heartbeatIncoming: 1000, heartbeatOutgoing: 1000 })
  await subscribe(b, `${base}/down`, { id: '1' })
  for (const body of ['small', 'x'.repeat(8000), 'ünï', 'lines\nand\n\nlines', 'a:b\\c']) {
    await done(a, headers => a.publish({ destination: `${base}/up`, body, headers }))
    await message(b, body, `${base}/down`)
    a.publish({ destination: `${base}/up`, body })
    await message(b, body, `${base}/down`)
  }
  if (!url.startsWith('http')) {
    const binaryBody = Uint8Array.from([0, 1, 128, 255, 0])
    a.publish({ destination: `${base}/up`, binaryBody })
    const frame = await b.frames.next('bytes')
    check(Buffer.from(frame.binaryBody).equals(Buffer.from(binaryBody)), `${frame.binaryBody}`)
  }

  await subscribe(b, `${base}/ack`, { id: '2', ack: 'client-individual' })
  for (const body of ['one', 'two']) {
    await done(a, headers => a.publish({ destination: `${base}/ack`, body, headers }))
  }
  const one = await message(b, 'one', `${base}/ack`)
  const two = await message(b, 'two', `${base}/ack`)
  two.ack()
  if (version === '1.0') {
    one.ack()
  } else {
    one.nack()
    const again = await message(b, 'one', `${base}/ack`)
    check(again.headers.redelivered === 'true', JSON.stringify(again.headers))
    again.ack()
  }

  await subscribe(b, `${base}/tx/#`, { id: '3' })
  for (const end of ['abort', 'commit']) {
    const transaction = a.begin()
    for (const body of ['first', 'second']) {
      a.publish({ destination: `${base}/tx/${end}`, body, headers: { transaction: transaction.id } })
    }
    transaction[end]()
  }
  await message(b, 'first', `${base}/tx/commit`)
  await message(b, 'second', `${base}/tx/commit`)

  // Longer than the heart-beats, which this client asks for and does not send with STOMP 1.0.
  await new Promise(resolve => setTimeout(resolve, 2700))
  check(b.connected, 'b is alive')
  await done(a, headers => a.publish({ destination: `${base}/up`, body: 'at last', headers }))
  await message(b, 'at last', `${base}/down`)
  b.unsubscribe('1')
  await limit(a.deactivate(), 'the end of a')
  await limit(b.deactivate(), 'the end of b')
  check(b.frames.values.length === 0, 'messages that nobody awaited')

  const refusal = await open({ connectHeaders: { login: 'guest', passcode: 'wrong' } })
    .then(() => 'let in', error => error.message)
  check(refusal === 'Login or passcode error!', refusal)
  console.log('ok')
  // What sockjs-client waits for is no reason to stay.
  process.exit(0)
}

main().catch(error => { console.error(error); process.exit(1) })
