// `emqttd_ctl` of the broker.

const { execFileSync } = require('node:child_process')
const path = require('node:path')

exports.ctl = (bin, ...args) => execFileSync(path.join(bin, 'emqttd_ctl'), args, { encoding: 'utf8' })

/** Waits until this is so. */
exports.eventually = async (what, so) => {
  const end = Date.now() + 20000
  while (!await so()) {
    if (Date.now() > end) throw new Error(`not so in time: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
