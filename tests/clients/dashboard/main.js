// The dashboard in a headless Chromium, as somebody uses it:
//
//   node main.js <scenario> '{"chromium":…,"page":…,"mqtt":port,"ws":port,"wss":port,"certificate":file,
//     "bin":directory,"out":directory}'
//
// A scenario is a file of `scenarios/`. Prints "ok", or ends with an error and a picture of the page in `out`.

const path = require('node:path')
const { Browser } = require('./browser.js')
const { Clients } = require('./clients.js')

async function main () {
  const [name, json] = process.argv.slice(2)
  const given = JSON.parse(json)
  const scenario = require(path.join(__dirname, 'scenarios', `${name}.js`))
  const browser = await Browser.open(name, given)
  const clients = new Clients(given)
  try {
    await scenario({ ...given, browser, clients })
    browser.mustBeQuiet()
    console.log('ok')
  } catch (error) {
    await browser.picture('failed')
    console.error(browser.said().join('\n'))
    throw error
  } finally {
    clients.end()
    await browser.close()
  }
}

main().then(() => process.exit(0), error => {
  console.error(error)
  process.exit(1)
})
