// Puts a .gz beside each text file of the build, prints what they weigh, and fails when what a first
// visit loads at once (index.html names it) is more than the budget.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const BUDGET = 250 * 1024;
const TEXT = new Set(['.html', '.js', '.css', '.svg', '.json', '.txt', '.map']);

const dist = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist');
const files = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && TEXT.has(extname(entry.name)))
  .map((entry) => join(entry.parentPath, entry.name));

const sizes = new Map();
for (const file of files) {
  const packed = gzipSync(readFileSync(file), { level: 9 });
  writeFileSync(`${file}.gz`, packed);
  sizes.set(relative(dist, file), { plain: statSync(file).size, packed: packed.length });
}

const page = readFileSync(join(dist, 'index.html'), 'utf8');
if (/<script(?![^>]*\ssrc=)/.test(page) || /\son\w+=/.test(page) || /\b(?:src|href)="(?:https?:)?\/\//.test(page)) {
  throw new Error('index.html holds an inline script or names another host: the content security policy forbids it');
}
const entry = ['index.html', ...[...page.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map((match) => match[1])].filter((name) => sizes.has(name));

const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`.padStart(10);
for (const [name, size] of [...sizes].sort((a, b) => b[1].packed - a[1].packed)) {
  console.log(`${kib(size.packed)} of ${kib(size.plain)}  ${name}${entry.includes(name) ? '  *' : ''}`);
}
const total = entry.reduce((sum, name) => sum + sizes.get(name).packed, 0);
console.log(`${kib(total)} is the entry (*), ${kib(BUDGET)} the budget`);
if (total > BUDGET) {
  console.error('The entry is above its budget.');
  process.exit(1);
}
