// Drives the page of export/web in headless Chromium: node drive_page.mjs ADDRESS < steps.json
//
// A step names what is done, {"file": path}, {"address": text} or {"texts": [...]}; what the page
// shows after each is printed as a line of JSON. Of {"value": expression} the value is, as soon as
// there is one. It fails if the page ever opens a dialog, or has an error that it does not catch.

import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';

const {chromium} = createRequire(new URL('../../export/web/', import.meta.url))('playwright-core');

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

const browser = await chromium.launch({executablePath: process.env.CHROMIUM, args: FLAGS});
const page = await browser.newPage();
page.setDefaultTimeout(60_000);
const failures = [];
page.on('dialog', (dialog) => { failures.push(dialog.message()); dialog.dismiss(); });
page.on('pageerror', (error) => failures.push(error.message));

// Whatever the page does, it ends with a message, a ready model, or an answer.
const settled = () => page.waitForFunction(() => {
  const [status, error, answer] = ['status', 'error', 'answer'].map(
    (id) => document.getElementById(id));
  return error.textContent || (status.textContent.includes('ready') && answer.ariaBusy === 'false');
});

await page.goto(process.argv[2]);
if (process.argv[2].includes('?')) await settled(); // it names a model
for (const step of JSON.parse(readFileSync(0, 'utf8'))) {
  if (step.value) {
    const value = await page.waitForFunction(step.value);
    process.stdout.write(JSON.stringify(await value.jsonValue()) + '\n');
    continue;
  }
  if (step.file) await page.getByLabel('Model file').setInputFiles(step.file);
  if (step.address) {
    await page.getByLabel('or its address').fill(step.address);
    await page.keyboard.press('Enter');
  }
  if (step.file || step.address) await settled();
  for (const [i, text] of (step.texts ?? []).entries()) {
    await page.locator('textarea').nth(i).fill(text);
  }
  if (step.texts) await settled();
  process.stdout.write(JSON.stringify(await page.evaluate(() => {
    const all = (selector) => [...document.querySelectorAll(selector)].map((x) => x.innerText);
    const unmarked = document.querySelector('#answer .marked')?.cloneNode(true);
    unmarked?.querySelectorAll('small').forEach((label) => label.remove());
    return {
      error: all('#error').join(),
      status: all('#status').join(),
      note: all('#note').join(),
      labels: all('#texts label'),
      best: all('#answer .best'),
      names: all('#answer dt'),
      shares: all('#answer dd:not(.bar)'),
      // The label of an entity stands in its mark, in a `small` of its own.
      marks: [...document.querySelectorAll('#answer mark')].map(
        (mark) => [mark.firstChild?.data ?? '', mark.querySelector('small')?.innerText ?? '']),
      unmarked: unmarked?.textContent ?? null,
      elements: document.querySelectorAll('#answer b, #answer img, #answer script').length,
    };
  })) + '\n');
}
await browser.close();
if (failures.length) throw new Error(failures.join());
