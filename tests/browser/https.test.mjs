// The page under a name of its own, where browsers lend the camera to HTTPS only.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { stage } from './browser.mjs';
import { noteFailure } from './server.mjs';
import { until } from './tools.mjs';

const NAME = 'media.test';

test('the page over HTTPS publishes and watches', { timeout: 120_000 }, async (suite) => {
  const shared = await stage(suite, {
    args: ['--tls-self-signed', '--set', `http.hosts=${NAME}`],
    scheme: 'https',
    flags: [`--host-resolver-rules=MAP ${NAME} 127.0.0.1`],
  });
  if (!shared) return;
  const { server, browser } = shared;
  const base = server.base.replace('127.0.0.1', NAME);
  const fingerprint = /TLS +self-signed certificate, SHA-256 ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})/;
  assert.match(server.log(), fingerprint);
  const context = await browser.newContext({ permissions: ['camera', 'microphone'], ignoreHTTPSErrors: true });
  try {
    const publisher = await context.newPage();
    await publisher.goto(`${base}?publish=secure`);
    assert.equal(await publisher.evaluate(() => globalThis.isSecureContext), true);
    await publisher.click('#publish-go');
    await goesTo(publisher, 'publish', 'connected');
    const viewer = await context.newPage();
    await viewer.goto(`${base}?watch=secure`);
    await goesTo(viewer, 'watch', 'connected');
    const shown = () =>
      viewer.locator('#watch-video').evaluate((video) => video.getVideoPlaybackQuality().totalVideoFrames);
    await until('twenty frames', async () => (await shown()) >= 20, 20_000);
  } catch (error) {
    noteFailure();
    throw error;
  } finally {
    await context.close();
  }
});

function goesTo(page, id, wanted) {
  const state = () => page.locator(`#${id}-state`).getAttribute('data-state');
  return until(`${id} to be ${wanted}`, async () => (await state()) === wanted, 20_000);
}
