// Retained messages are found, read, published and deleted.

const assert = require('node:assert/strict')

module.exports = async ({ browser, clients }) => {
  const { page } = browser
  const publisher = await clients.connect('publisher')
  await publisher.publishAsync('house/kitchen/temp', '{"value":21.5,"unit":"C"}', { qos: 1, retain: true })
  await publisher.publishAsync('house/ü/% #'.replace('#', 'x'), '<img src=x onerror=alert(1)>', { qos: 1, retain: true })
  await publisher.publishAsync('house/raw', Buffer.from([0, 159, 146, 150]), { qos: 1, retain: true })
  await publisher.publishAsync('yard/light', 'on', { qos: 1, retain: true })
  await browser.firstLogin()
  await browser.go('Retained')
  await browser.row('yard/light').waitFor()
  await page.getByLabel('Topic filter').fill('house/#')
  await browser.row('yard/light').waitFor({ state: 'detached' })
  await browser.row('house/kitchen/temp').getByRole('button', { name: /^Show/ }).click()
  await page.getByText('21.5').first().waitFor()
  await browser.picture('payload')
  await page.keyboard.press('Escape')
  await browser.row('house/ü/% x').getByRole('button', { name: /^Show/ }).click()
  await page.getByText('<img src=x onerror=alert(1)>').first().waitFor()
  await page.keyboard.press('Escape')

  const seer = await clients.connect('seer')
  await seer.subscribeAsync('house/raw')
  await browser.row('house/raw').getByRole('button', { name: /^Delete/ }).click()
  await browser.confirm('Delete')
  await browser.row('house/raw').waitFor({ state: 'detached' })
  const later = await clients.connect('later')
  await page.getByRole('button', { name: 'Publish', exact: false }).first().click()
  await browser.dialog().getByLabel('Topic').fill('house/new')
  await browser.dialog().getByLabel('Payload').fill('made here')
  await browser.confirm('Publish')
  await browser.row('house/new').waitFor()
  const came = clients.next(later)
  await later.subscribeAsync('house/new')
  const { payload, retain } = await came
  assert.deepEqual({ payload, retain }, { payload: 'made here', retain: true })
}
