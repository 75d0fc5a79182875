// mqtt.js against the broker: node mqttjs_client.js <url> <3|4|5> <CA file> <topic>
//
// Publishes and subscribes with each QoS, then a retained message, a will, and a persistent session; with
// MQTT 5 also properties. Prints "ok", or ends with an error.

const fs = require('node:fs')
const mqtt = require('mqtt')

const [url, versionText, ca, topic] = process.argv.slice(2)
const version = Number(versionText)
const wait = 40000

function check (condition, what) {
  if (!condition) throw new Error(what)
}

class Client {
  static async open (name, options = {}) {
    const self = new Client()
    self.messages = []
    self.waiting = []
    self.client = mqtt.connect(url, {
      clientId: topic + name,
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: version,
      reconnectPeriod: 0,
      connectTimeout: wait,
      ca: [fs.readFileSync(ca)],
      ...options
    })
    self.client.on('message', (name, payload, packet) => {
      const message = { topic: name, payload: payload.toString(), packet }
      const next = self.waiting.shift()
      if (next) next(message)
      else self.messages.push(message)
    })
    self.connack = await new Promise((resolve, reject) => {
      self.client.once('connect', resolve)
      self.client.once('error', reject)
      self.client.once('close', () => reject(new Error('closed before CONNACK')))
    })
    return self
  }

  async expect (name, payload) {
    const message = this.messages.shift() ?? await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${name} did not come`)), wait)
      this.waiting.push(m => { clearTimeout(timer); resolve(m) })
    })
    check(message.topic === name && message.payload === payload,
      `${name} ${payload.slice(0, 40)} wanted, got ${message.topic} ${message.payload.slice(0, 40)}`)
    return message.packet
  }

  async subscribe (name, options) {
    const granted = await this.client.subscribeAsync(name, options)
    check(granted[0].qos === options.qos, `granted ${granted[0].qos} for ${name}`)
  }

  publish (name, payload, options) {
    return this.client.publishAsync(name, payload, options)
  }
}

async function main () {
  const a = await Client.open('a')
  const b = await Client.open('b')
  for (const qos of [0, 1, 2]) {
    await b.subscribe(`${topic}/${qos}/+`, { qos: 2 })
    for (const payload of ['small', 'x'.repeat(60000), '']) {
      await a.publish(`${topic}/${qos}/x`, payload, { qos })
      const packet = await b.expect(`${topic}/${qos}/x`, payload)
      check(packet.qos === qos && !packet.retain, 'QoS and retain of a live message')
    }
  }

  await a.publish(`${topic}/r`, 'kept', { qos: 1, retain: true })
  await b.subscribe(`${topic}/r`, { qos: 1 })
  check((await b.expect(`${topic}/r`, 'kept')).retain, 'retain of a retained message')
  await a.publish(`${topic}/r`, '', { qos: 1, retain: true })
  await b.expect(`${topic}/r`, '')
  await b.client.unsubscribeAsync(`${topic}/r`)
  await a.publish(`${topic}/r`, 'unheard', { qos: 1 })

  await b.subscribe(`${topic}/will`, { qos: 1 })
  const w = await Client.open('w', { will: { topic: `${topic}/will`, payload: Buffer.from('gone'), qos: 1, retain: false } })
  w.client.stream.destroy()
  await b.expect(`${topic}/will`, 'gone')

  const lasting = { clean: false, ...(version === 5 ? { properties: { sessionExpiryInterval: 100 } } : {}) }
  let p = await Client.open('p', lasting)
  check(!p.connack.sessionPresent, 'a new session')
  await p.subscribe(`${topic}/p`, { qos: 2 })
  await p.client.endAsync()
  for (const i of [0, 1, 2, 3]) await a.publish(`${topic}/p`, String(i), { qos: 2 })
  p = await Client.open('p', lasting)
  check(p.connack.sessionPresent || version === 3, 'the session is present')
  for (const i of [0, 1, 2, 3]) await p.expect(`${topic}/p`, String(i))
  await p.client.endAsync()

  if (version === 5) {
    await b.subscribe(`${topic}/props`, { qos: 1, properties: { subscriptionIdentifier: 7 } })
    await a.publish(`${topic}/props`, 'x', {
      qos: 1,
      properties: { contentType: 'text/plain', responseTopic: `${topic}/answer`, userProperties: { k: ['1', '2'] } }
    })
    const { properties } = await b.expect(`${topic}/props`, 'x')
    check(properties.contentType === 'text/plain' && properties.responseTopic === `${topic}/answer`, 'properties')
    check(properties.userProperties.k.join() === '1,2', 'user properties')
    check(properties.subscriptionIdentifier === 7, 'subscription identifier')
  }

  await a.client.endAsync()
  await b.client.endAsync()
  check(a.messages.length === 0 && b.messages.length === 0, 'messages that nobody awaited')
  console.log('ok')
}

main().catch(error => { console.error(error); process.exit(1) })
