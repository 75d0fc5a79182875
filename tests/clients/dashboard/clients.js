// Real clients of MQTT beside the browser.

const { once } = require('node:events')
const mqtt = require('mqtt')

class Clients {
  constructor (given) {
    this.given = given
    this.open = []
  }

  /** A connected client; `options` are those of mqtt.js. */
  async connect (clientId, options = {}) {
    const client = mqtt.connect(`mqtt://127.0.0.1:${this.given.mqtt}`, {
      clientId, reconnectPeriod: 0, keepalive: 60, ...options
    })
    this.open.push(client)
    client.on('error', error => { client.failure = error })
    await Promise.race([
      once(client, 'connect'),
      once(client, 'close').then(() => Promise.reject(client.failure ?? new Error(`${clientId}: refused`)))
    ])
    return client
  }

  /** The next message of a client, as topic and text. */
  async next (client) {
    const [topic, payload, packet] = await once(client, 'message', { signal: AbortSignal.timeout(20000) })
    return { topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain }
  }

  end () {
    for (const client of this.open) client.end(true)
  }
}

module.exports = { Clients }
