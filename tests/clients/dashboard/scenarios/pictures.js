// What the README shows: the overview and the clients of a broker at work. `cargo xtask pictures` lets it work for longer
// and keeps them below `docs/`.

const SECONDS = Number(process.env.EMQTTD_PICTURE_SECONDS ?? 8)

module.exports = async ({ browser, clients }) => {
  const rooms = ['kitchen', 'hall', 'office', 'roof', 'cellar', 'garden', 'garage', 'workshop']
  const display = await clients.connect('display-lobby', { username: 'lobby', clean: false })
  await display.subscribeAsync(['house/+/temperature', 'house/+/humidity'], { qos: 1 })
  const archive = await clients.connect('archive', { username: 'archive', clean: false, protocolVersion: 5, properties: { sessionExpiryInterval: 86400 } })
  await archive.subscribeAsync('house/#', { qos: 1 })
  const sensors = []
  for (const [n, room] of rooms.entries()) {
    for (const kind of ['temperature', 'humidity']) {
      const version = { protocolVersion: n % 3 === 0 ? 5 : 4 }
      sensors.push([await clients.connect(`${room}-${kind}`, { username: 'sensors', keepalive: 30 + 15 * (n % 3), ...version }), `house/${room}/${kind}`])
    }
  }
  const begin = Date.now()
  const work = setInterval(() => {
    const seconds = (Date.now() - begin) / 1000
    // More and less, as devices do.
    const much = 8 + 6 * Math.sin(seconds / 9) + 3 * Math.sin(seconds / 2.3)
    for (const [n, [sensor, topic]] of sensors.entries()) {
      for (let i = 0; i < much / 4; i++) sensor.publish(topic, `{"value":${(20 + n / 3).toFixed(1)}}`, { qos: n % 2, retain: true })
    }
  }, 250)
  try {
    await browser.firstLogin()
    await new Promise(resolve => setTimeout(resolve, SECONDS * 1000))
    const { page } = browser
    await browser.go('Clients')
    await browser.row('display-lobby').waitFor()
    await page.getByText('The password is changed.').waitFor({ state: 'detached' })
    await browser.picture('clients')
    await browser.go('Overview')
    await page.locator('canvas').first().waitFor()
    await new Promise(resolve => setTimeout(resolve, 3000))
    await browser.picture('overview')
  } finally {
    clearInterval(work)
  }
}
