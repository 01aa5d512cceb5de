// Chromium pages that publish and watch, on another origin than the server.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';

import { chromium as playwright } from 'playwright-core';

import { noteFailure, startServer } from './server.mjs';
import { chromium, missing, pause, until } from './tools.mjs';

const FLAGS = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
  '--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage',
  '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding',
  '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required', '--disable-features=WebRtcHideLocalIpsWithMdns',
  '--allow-loopback-in-peer-connection',
  // A muted element makes the received level 0: the page plays aloud and the browser stays silent.
  '--mute-audio',
];

/**
 * What every test file needs: a server, a site with test pages and one Chromium, all ended after `context`.
 * Null when something is missing and the test has been skipped.
 */
export async function stage(context, { flags = [], ...options } = {}) {
  const path = chromium();
  if (!path) {
    missing(context, 'no Chromium at /usr/bin/chromium: run setup.sh');
    return null;
  }
  const server = await startServer(context, options);
  if (!server) return null;
  const site = await startSite(context);
  const profile = await mkdtemp(join(tmpdir(), 'whitewater-chromium-'));
  const browser = await playwright.launch({
    executablePath: path,
    headless: true,
    // Playwright's own switches would undo some of ours.
    ignoreDefaultArgs: ['--mute-audio', '--disable-features', '--enable-automation'],
    args: [...FLAGS, ...flags, `--crash-dumps-dir=${profile}`],
  });
  context.after(async () => {
    await browser.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  return { server, site, browser };
}

/** Opens a test page in a browser context of its own. */
export async function openPage({ browser, site }) {
  const context = await browser.newContext({ permissions: ['camera', 'microphone'] });
  const page = await context.newPage();
  page.said = [];
  page.on('console', (message) => page.said.push(message.text()));
  page.on('pageerror', (error) => page.said.push(`error: ${error.stack}`));
  await page.goto(`${site}pages/peer.html`);
  await page.waitForFunction(() => globalThis.peerReady === true);
  return page;
}

/** Closes pages and their contexts. */
export async function closePages(...pages) {
  for (const page of pages) await page?.context().close().catch(() => {});
}

/** Publishes the fake camera and microphone. Returns once the connection stands. */
export async function publish(page, server, name, options = {}) {
  await page.evaluate(([url, given]) => globalThis.publish(url, given), [`${server.base}whip/${encodeURIComponent(name)}`, options]);
}

/** Starts watching. Returns once an answer is applied; frames may come later. */
export async function watch(page, server, name, options = {}) {
  await page.evaluate(([url, given]) => globalThis.watch(url, given), [`${server.base}whep/${encodeURIComponent(name)}`, options]);
}

/** One look at what a page sends or receives; see `probe` in pages/peer.js. */
export const probe = (page) => page.evaluate(() => globalThis.probe());

/** Waits until a page has decoded `count` frames more than now, and returns the last look. */
export async function moreFrames(page, count = 10, timeoutMs = 15_000) {
  const before = (await probe(page)).framesDecoded;
  return until(
    `${count} more frames`,
    async () => {
      const now = await probe(page);
      return now.framesDecoded >= before + count ? now : null;
    },
    timeoutMs,
  );
}

/**
 * Asserts that picture and sound really flow for `ms`: frames are decoded and differ from each other, audio
 * packets arrive and carry energy, and nothing stands still for long.
 */
export async function assertFlows(page, { ms = 3000, video = null, audio = 'opus', freezeMsMax = 1500 } = {}) {
  await moreFrames(page, 5);
  const first = await probe(page);
  const hashes = new Set();
  const end = Date.now() + ms;
  let stillSince = Date.now();
  let decoded = first.framesDecoded;
  let stillMsMax = 0;
  while (Date.now() < end) {
    await pause(150);
    const now = await probe(page);
    hashes.add(now.hash);
    if (now.framesDecoded > decoded) {
      decoded = now.framesDecoded;
      stillSince = Date.now();
    }
    stillMsMax = Math.max(stillMsMax, Date.now() - stillSince);
  }
  const last = await probe(page);
  const seen = JSON.stringify({ first, last, pictures: hashes.size, stillMsMax });
  if (video) assert.match(last.videoCodec, new RegExp(`^video/${video}$`, 'i'), seen);
  assert.ok(last.framesDecoded - first.framesDecoded >= (ms / 1000) * 5, `too few frames: ${seen}`);
  assert.ok(hashes.size >= 3, `the picture does not change: ${seen}`);
  assert.ok(stillMsMax <= freezeMsMax, `the picture stood still: ${seen}`);
  assert.ok(last.freezeMs - first.freezeMs <= freezeMsMax, `long freezes: ${seen}`);
  if (audio) {
    assert.match(last.audioCodec, new RegExp(`^audio/${audio}$`, 'i'), seen);
    // 20 ms packets: 50 a second, half of them is plenty.
    assert.ok(last.audioPackets - first.audioPackets >= (ms / 1000) * 20, `too few audio packets: ${seen}`);
    assert.ok(last.audioSamples > first.audioSamples, `no sound is played: ${seen}`);
    assert.ok(last.audioEnergy > first.audioEnergy, `the sound is silence: ${seen}`);
  }
  return last;
}

/** A test that prints what its pages said when it fails, and has the server print its log. */
export function scenario(suite, title, options, work) {
  const only = process.env.WHITEWATER_ONLY ?? '';
  const skip = !title.includes(only) && `WHITEWATER_ONLY=${only}`;
  return suite.test(title, { timeout: 120_000, skip, ...options }, async (context) => {
    const pages = [];
    const open = async (shared) => {
      const page = await openPage(shared);
      pages.push(page);
      return page;
    };
    try {
      await work({ context, open });
    } catch (error) {
      noteFailure();
      for (const page of pages) process.stderr.write(`--- page\n${page.said.slice(-40).join('\n')}\n`);
      throw error;
    } finally {
      await closePages(...pages);
    }
  });
}

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

/** Serves `pages/` and, under `web/`, the client modules of the embedded page. Returns the site's address. */
async function startSite(context) {
  const roots = {
    pages: new URL('./pages/', import.meta.url),
    web: new URL('../../control/web/', import.meta.url),
  };
  const site = createServer(async (request, response) => {
    const [, folder, file] = /^\/(pages|web)\/([\w-]+\.\w+)$/.exec(new URL(request.url, 'http://x').pathname) ?? [];
    try {
      const body = await readFile(new URL(file, roots[folder]));
      response.writeHead(200, { 'Content-Type': `${TYPES[extname(file)]}; charset=utf-8`, 'Cache-Control': 'no-store' });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    site.closeAllConnections();
    site.close();
  });
  return `http://127.0.0.1:${site.address().port}/`;
}
