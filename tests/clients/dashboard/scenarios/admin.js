// Users, API keys, the audit log.

const assert = require('node:assert/strict')
const { ctl } = require('../ctl.js')

module.exports = async ({ browser, bin, page: base }) => {
  const { page } = browser
  const status = async (authorization, path, options = {}) =>
    (await fetch(new URL(`api/v2/${path}`, base), { ...options, headers: { Authorization: authorization } })).status
  const basic = (name, password) => `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
  await browser.firstLogin()

  await browser.go('Users')
  await page.getByRole('button', { name: 'Add user' }).click()
  await browser.dialog().getByLabel('Username').fill('bob')
  await browser.dialog().getByLabel('Remark').fill('looks')
  await browser.dialog().getByLabel('Password', { exact: true }).fill('bobs password')
  await browser.dialog().getByLabel('Repeat the password').fill('bobs password')
  await browser.picture('add')
  await browser.confirm('Add user')
  await browser.row('bob').getByText('looks').waitFor()
  assert.equal(await status(basic('bob', 'bobs password'), 'users'), 200)
  await browser.row('bob').getByRole('button', { name: 'Change the password of bob' }).click()
  await browser.dialog().getByLabel('Old password').fill('bobs password')
  await browser.dialog().getByLabel('New password', { exact: true }).fill('another one')
  await browser.dialog().getByLabel('Repeat the new password').fill('another one')
  await browser.confirm('Change password')
  assert.equal(await status(basic('bob', 'bobs password'), 'users'), 401)
  assert.equal(await status(basic('bob', 'another one'), 'users'), 200)
  await browser.picture('users')
  await browser.row('bob').getByRole('button', { name: 'Delete bob' }).click()
  await browser.confirm('Delete')
  await browser.row('bob').waitFor({ state: 'detached' })
  assert.equal(await status(basic('bob', 'another one'), 'users'), 401)
  // admin stays.
  assert.equal(await browser.row('admin').getByRole('button', { name: 'Delete admin' }).isEnabled().catch(() => false), false)

  await browser.go('API keys')
  await page.getByRole('button', { name: 'Create key' }).click()
  await browser.dialog().getByLabel('Name', { exact: false }).first().fill('reader')
  await browser.dialog().getByRole('checkbox', { name: /^Read/ }).check()
  await browser.dialog().getByRole('button', { name: /^Create/ }).click()
  const secret = await browser.dialog().getByLabel('Secret').inputValue()
  const id = (await browser.dialog().innerText()).match(/ak_[0-9a-f]{16}/)?.[0] ??
    await browser.dialog().getByLabel('Key ID').inputValue()
  await browser.picture('secret')
  await browser.confirm('I have it')
  const key = `Bearer ${id}.${secret}`
  assert.equal(await status(key, 'management/nodes'), 200)
  assert.equal(await status(key, 'users'), 403)
  assert.equal(await status(key, 'acl/reload', { method: 'POST' }), 403)
  await browser.row('reader').getByRole('button', { name: 'Revoke reader' }).click()
  await browser.confirm('Revoke')
  await browser.row('reader').waitFor({ state: 'detached' })
  assert.equal(await status(key, 'management/nodes'), 401)

  // All of that stands in the log, and no password does.
  ctl(bin, 'admins', 'passwd', 'admin', 'from the command line')
  // A password that was changed elsewhere ends the login here, wherever one is.
  await page.getByRole('button', { name: 'Log in' }).waitFor()
  await browser.fillLogin('from the command line')
  await page.getByRole('navigation').waitFor()
  await browser.go('Audit log')
  await browser.row('users/bob').first().waitFor()
  await browser.row('admins passwd').first().getByText('command line').waitFor()
  await browser.picture('audit')
  const text = await page.getByRole('main').innerText()
  for (const password of ['bobs password', 'another one', 'from the command line', secret]) {
    assert.ok(!text.includes(password), password)
  }
}
