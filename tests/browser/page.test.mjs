// The page at `/`, driven through its interface as a person would.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

import { stage } from './browser.mjs';
import { noteFailure } from './server.mjs';
import { until } from './tools.mjs';

const SHOTS = process.env.WHITEWATER_SCREENSHOT ? fileURLToPath(new URL('../../docs/', import.meta.url)) : null;
const HOSTILE = '<img src=x onerror=alert(1)>';

test('the embedded page', { timeout: 240_000 }, async (suite) => {
  const shared = await stage(suite);
  if (!shared) return;
  const { server, browser } = shared;

  async function visit(path, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, permissions: ['camera', 'microphone'], ...options });
    const page = await context.newPage();
    page.problems = [];
    page.on('pageerror', (error) => page.problems.push(error.stack));
    // A refused WHIP or WHEP request is part of some tests; a blocked script or style never is.
    page.on('console', (message) => {
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) page.problems.push(message.text());
    });
    page.on('dialog', (dialog) => {
      page.problems.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    await page.goto(`${server.base}${path}`);
    return page;
  }

  function scenario(title, work) {
    return suite.test(title, { timeout: 90_000 }, async () => {
      const pages = [];
      try {
        await work(async (...args) => {
          const page = await visit(...args);
          pages.push(page);
          return page;
        });
        for (const page of pages) assert.deepEqual(page.problems, []);
      } catch (error) {
        noteFailure();
        for (const page of pages) process.stderr.write(`--- page ${page.url()}\n${page.problems.join('\n')}\n`);
        throw error;
      } finally {
        for (const page of pages) await page.context().close();
      }
    });
  }

  const state = (page, id) => page.locator(`#${id}-state`).getAttribute('data-state');
  const goesTo = (page, id, wanted) =>
    until(`${id} to be ${wanted}`, async () => (await state(page, id)) === wanted, 20_000);
  const framesShown = (page) =>
    page.locator('#watch-video').evaluate((video) => video.getVideoPlaybackQuality().totalVideoFrames);
  const number = (page, id, label) =>
    page.locator(`#${id}-numbers div`).filter({ has: page.locator(`dt:text-is("${label}")`) }).locator('dd').innerText();

  await scenario('publishes and watches, with numbers, list, mute and stop', async (open) => {
    const publisher = await open('?publish=river');
    assert.equal(await publisher.inputValue('#publish-name'), 'river');
    await publisher.selectOption('#resolution', '360');
    await publisher.selectOption('#codec', 'VP8');
    await publisher.selectOption('#bitrate', '800000');
    await publisher.click('#publish-preview');
    await until('the preview', () => publisher.locator('#publish-video').evaluate((video) => video.videoWidth > 0));
    assert.equal(await state(publisher, 'publish'), 'idle', 'a preview must not publish');
    await publisher.click('#publish-go');
    await goesTo(publisher, 'publish', 'connected');

    // The list shows it, and a click on it watches.
    const viewer = await open('');
    const row = viewer.locator('.stream', { hasText: 'river' });
    await row.waitFor();
    await until('the list to say Live', async () => /Live/.test(await row.innerText()));
    await row.click();
    await goesTo(viewer, 'watch', 'connected');
    const first = await framesShown(viewer);
    await until('frames on screen', async () => (await framesShown(viewer)) > first + 20);
    assert.equal(new URL(viewer.url()).searchParams.get('watch'), 'river');
    await until('numbers', async () => /bit\/s/.test(await number(viewer, 'watch', 'Video').catch(() => '')));
    await until('codecs', async () => /VP8 \+ opus/i.test(await number(viewer, 'watch', 'Codecs')));
    assert.match(await number(viewer, 'watch', 'Picture'), /^\d+ × \d+$/);
    await until('the publisher’s numbers', async () => /VP8/.test(await number(publisher, 'publish', 'Codecs')));
    await until('the viewer in the list', async () => /1 viewer/.test(await row.innerText()));
    assert.equal(await row.getAttribute('aria-current'), 'true');

    if (SHOTS) {
      await viewer.mouse.move(0, 0);
      await until('a calm picture', async () => (await framesShown(viewer)) > 80);
      await viewer.screenshot({ path: `${SHOTS}page.png` });
    }

    const sound = viewer.locator('#watch-sound');
    const muted = () => viewer.locator('#watch-video').evaluate((video) => video.muted);
    const before = await muted();
    await sound.click();
    assert.equal(await muted(), !before);

    // Hidden picture: the publisher sends black, which takes next to nothing.
    await publisher.click('#mute-video');
    assert.equal(await publisher.locator('#mute-video').getAttribute('aria-pressed'), 'true');
    await publisher.click('#mute-video');

    // A change of size replaces the track in the running session.
    await publisher.selectOption('#resolution', '480');
    await until('480 lines', async () => /× 480$/.test(await number(viewer, 'watch', 'Picture')), 30_000);

    await viewer.click('#watch-go');
    assert.equal(await state(viewer, 'watch'), 'idle');
    await until('the viewer to leave the list', async () => /0 viewers/.test(await row.innerText()));
    await publisher.click('#publish-go');
    assert.equal(await state(publisher, 'publish'), 'idle');
    await until('the stream not to be live', async () => (await viewer.locator('.stream[data-state="live"]').count()) === 0);
  });

  await scenario('a watch link plays at once, on a phone as well', async (open) => {
    const publisher = await open('?publish=phone');
    await publisher.selectOption('#resolution', '360');
    await publisher.click('#publish-go');
    await goesTo(publisher, 'publish', 'connected');
    const phone = await open('?watch=phone', {
      viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'dark',
    });
    await goesTo(phone, 'watch', 'connected');
    await until('frames on screen', async () => (await framesShown(phone)) > 20);
    const wide = await phone.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.equal(wide, false, 'the page must not scroll sideways');
    if (SHOTS) {
      await until('numbers', async () => /bit\/s/.test(await number(phone, 'watch', 'Video').catch(() => '')));
      await phone.screenshot({ path: `${SHOTS}page-phone.png` });
    }
    await phone.tap('#tab-publish');
    for (const tool of ['obs', 'ffmpeg', 'gstreamer']) await phone.tap(`#tool-${tool} summary`);
    assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
  });

  await scenario('the description of the API is drawn, on a phone as well', async (open) => {
    const home = await open('');
    await home.click('.foot a');
    await home.waitForURL('**/api/docs');
    const phone = await open('api/docs#patchSession', {
      viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'dark',
    });
    for (const page of [home, phone]) {
      const operation = page.locator('#patchSession');
      await operation.waitFor();
      assert.ok((await page.locator('.api details').count()) > 30);
      if (page === home) await operation.locator('summary').click();
      assert.match(await operation.innerText(), /If-Match[\s\S]*412/);
      await page.evaluate(() => document.querySelectorAll('details').forEach((each) => { each.open = true; }));
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, 'it must not scroll sideways');
    }
  });

  await scenario('names are text, whatever they contain', async (open) => {
    const made = await fetch(`${server.base}api/streams/${encodeURIComponent(HOSTILE)}`, { method: 'POST' });
    const page = await open(`?watch=${encodeURIComponent(HOSTILE)}`);
    if (made.ok) {
      // The name is allowed here: the list shows it as it is.
      await until('the row', async () => (await page.locator('.stream .name').allInnerTexts()).includes(HOSTILE));
      await fetch(`${server.base}api/streams/${encodeURIComponent(HOSTILE)}`, { method: 'DELETE' });
    }
    assert.equal(await page.inputValue('#watch-name'), HOSTILE);
    await page.click('#tab-publish');
    await page.fill('#publish-name', HOSTILE);
    assert.equal(await page.locator('img[src="x"]').count(), 0);
  });

  await scenario('controls have names, and the keyboard reaches them', async (open) => {
    const page = await open('');
    const unnamed = await page.evaluate(() => {
      const named = (element) =>
        element.labels?.length || element.getAttribute('aria-label') || element.getAttribute('aria-labelledby') || element.textContent.trim();
      return [...document.querySelectorAll('input, select, button, summary, a')].filter((each) => !named(each)).map((each) => each.outerHTML);
    });
    assert.deepEqual(unnamed, []);
    await page.focus('#tab-watch');
    await page.keyboard.press('ArrowRight');
    assert.equal(await page.locator('#publish').isVisible(), true);
    assert.equal(await page.locator('#watch').isVisible(), false);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'tab-publish');
  });

  await scenario('a token stays in the tab: not in the address, not in lasting storage', async (open) => {
    const page = await open('');
    await page.click('.access summary');
    await page.fill('#token', 'a-secret-token');
    await page.keyboard.press('Tab');
    const kept = await page.evaluate(() => ({ ...sessionStorage, lasting: localStorage.length, cookie: document.cookie, url: location.href }));
    assert.equal(kept['whitewater-token'], 'a-secret-token');
    assert.equal(kept.lasting, 0);
    assert.equal(kept.cookie, '');
    assert.doesNotMatch(kept.url, /secret/);
    await page.click('#tab-publish');
    assert.doesNotMatch(await page.locator('#tools').innerHTML(), /a-secret-token/);
  });
});
