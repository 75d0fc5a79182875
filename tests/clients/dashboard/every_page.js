// Every page in a language and a theme, without serious faults of accessibility.

const { PAGES } = require('./pages.js')

/** `language` as the menu has it; `title` is what a title must look like. */
exports.everyPage = async ({ browser, clients }, language, lang, theme, titles) => {
  const client = await clients.connect('somebody', { username: 'alice', clean: false })
  await client.subscribeAsync(['a/#', '$share/g/b'], { qos: 1 })
  await client.publishAsync('a/retained', 'x', { qos: 1, retain: true })
  await browser.firstLogin()
  const { page } = browser
  await choose(browser, 'Theme', theme)
  await choose(browser, 'Language', language)
  await page.locator(`html[lang^="${lang}"]`).waitFor({ state: 'attached' })
  const seen = []
  for (const [name, address] of [...PAGES, ['Client', '/clients/somebody'], ['Plugin', '/plugins/emq_retainer']]) {
    await browser.visit(address)
    const title = page.getByRole('heading', { level: 1 })
    // The address changes before the page does.
    await page.waitForFunction(last => document.querySelector('h1')?.innerText !== last &&
      document.querySelector('h1') !== null &&
      document.querySelector('.mantine-Skeleton-root, .mantine-Loader-root') === null, seen.at(-1) ?? null)
    seen.push(await title.innerText())
    await browser.picture(name.toLowerCase().replaceAll(' ', '-'))
    await browser.mustBeAccessible(`${name} in ${language}, ${theme}`)
  }
  titles(seen.slice(0, PAGES.length))
  // Both are remembered.
  await page.reload()
  await page.locator(`html[lang^="${lang}"][data-mantine-color-scheme="${theme.toLowerCase()}"]`).waitFor({ state: 'attached' })
}

async function choose (browser, control, entry) {
  const { page } = browser
  await page.getByRole('button', { name: new RegExp(`^${control}`) }).first().click()
  await page.getByRole('menuitemradio', { checked: true }).waitFor()
  await browser.mustBeAccessible(`the menu ${control}`)
  await page.getByRole('menuitemradio', { name: entry }).click()
  // What is judged next is the page, not a menu on its way out.
  await page.getByRole('menu').waitFor({ state: 'detached' })
}
