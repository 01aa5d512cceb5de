// A server that asks for tokens: FFmpeg and the page with theirs, and what they meet without.

import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { assertFlows, closePages, openPage, stage, watch } from './browser.mjs';
import { noteFailure, startServer } from './server.mjs';
import { ffmpegWithWhip, finished, missing, run, until } from './tools.mjs';

const OBS = fileURLToPath(new URL('./clients/libdatachannel_peer.mjs', import.meta.url));

const OPERATOR = randomBytes(16).toString('hex');
const SECRET = randomBytes(32).toString('hex');

/** A JSON Web Token of the server's secret. */
function token(claims) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode({ alg: 'HS256' })}.${encode({ exp: Math.floor(Date.now() / 1000) + 600, ...claims })}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

/** The flags of a server with these tokens; its file goes with the test. */
async function guarded(context) {
  const folder = await mkdtemp(join(tmpdir(), 'whitewater-access-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'whitewater.toml');
  await writeFile(file, `[auth]\ntokens = ["${OPERATOR}"]\nsecret = "${SECRET}"\n`);
  return { args: ['--config', file] };
}

const operator = { Authorization: `Bearer ${OPERATOR}` };

/** The publisher's session in the operator's list of streams, if there is one. */
async function publisher(server, name) {
  const response = await fetch(`${server.base}api/streams/`, { headers: operator });
  assert.equal(response.status, 200);
  return (await response.json()).find(({ id }) => id === name)?.publish.sessions[0];
}

/** Fails the test as `work` does, and has the server print its log then. */
async function noting(work) {
  try {
    await work();
  } catch (error) {
    noteFailure();
    throw error;
  }
}

test('FFmpeg publishes with its -authorization, until that is revoked', { timeout: 120_000 }, async (context) => {
  const ffmpeg = await ffmpegWithWhip();
  if (!ffmpeg) return missing(context, 'no FFmpeg with a WHIP muxer: run setup.sh');
  const server = await startServer(context, await guarded(context));
  if (!server) return;
  const publish = (name, ...flags) => run(ffmpeg, [
    '-hide_banner', '-nostdin', '-loglevel', 'info', '-re', '-f', 'lavfi', '-i', 'testsrc=size=320x240:rate=20',
    '-c:v', 'libx264', '-profile:v', 'baseline', '-pix_fmt', 'yuv420p', '-preset', 'ultrafast', '-tune', 'zerolatency',
    '-bf', '0', '-g', '20', '-b:v', '400k', ...flags, '-f', 'whip', `${server.base}whip/${name}`,
  ]);
  await noting(async () => {
    for (const flags of [[], ['-authorization', 'wrong'], ['-authorization', token({ id: 'cam', mode: 4 })]]) {
      const refused = await finished(publish('cam', ...flags));
      assert.notEqual(refused.code, 0, refused.output);
      assert.equal(await publisher(server, 'cam'), undefined);
    }
    const accepted = publish('cam', '-authorization', token({ id: 'cam', mode: 2, sub: 'studio' }));
    try {
      await until('its media', async () => (await publisher(server, 'cam'))?.stats.packets > 50, 20_000);
      const response = await fetch(`${server.base}api/auth/revocations`, {
        method: 'POST',
        headers: { ...operator, 'Content-Type': 'application/json' },
        body: JSON.stringify({ sub: 'studio' }),
      });
      assert.equal(response.status, 201);
      assert.equal((await response.json()).ended, 1);
      await until('the end of its session', async () => !(await publisher(server, 'cam')), 5000);
    } catch (error) {
      error.message += `\n--- FFmpeg\n${accepted.output.slice(-4000)}`;
      throw error;
    } finally {
      await accepted.stop();
    }
    const again = await finished(publish('cam', '-authorization', token({ id: 'cam', mode: 2, sub: 'studio' })));
    assert.notEqual(again.code, 0, again.output);
  });
});

test('libdatachannel publishes as OBS does, with a bearer token, and Chromium watches', { timeout: 120_000 }, async (context) => {
  const ffmpeg = await ffmpegWithWhip();
  if (!ffmpeg) return missing(context, 'no FFmpeg with Opus and H.264: run setup.sh');
  const shared = await stage(context, await guarded(context));
  if (!shared) return;
  const { server } = shared;
  const start = (text) => run(process.execPath, [OBS, `${server.base}whip/studio%20one`, text, ffmpeg]);
  await noting(async () => {
    for (const text of ['', 'wrong', token({ id: 'studio one', mode: 4 })]) {
      const refused = await finished(start(text));
      assert.match(refused.output, /^40[13] /m, refused.output);
    }
    const publisher_ = start(token({ id: 'studio one', mode: 2 }));
    let viewer;
    try {
      await until('the publisher to connect', () => /^connected$/m.test(publisher_.output), 20_000);
      viewer = await openPage(shared);
      await watch(viewer, server, 'studio one', { token: token({ id: 'studio one', mode: 4 }) });
      await assertFlows(viewer, { video: 'H264' });
    } catch (error) {
      error.message += `\n--- libdatachannel\n${publisher_.output.slice(-4000)}`;
      throw error;
    } finally {
      await closePages(viewer);
      await publisher_.stop();
    }
    assert.equal(publisher_.code, 0, publisher_.output);
    await until('its session to be gone', async () => !(await publisher(server, 'studio one')), 5000);
  });
});

test('the page publishes and watches with the token it is given', { timeout: 120_000 }, async (context) => {
  const shared = await stage(context, await guarded(context));
  if (!shared) return;
  const { server, browser } = shared;
  const visit = async (path, text) => {
    const page = await (await browser.newContext({ permissions: ['camera', 'microphone'] })).newPage();
    if (text) {
      await page.goto(server.base);
      await page.click('.access summary');
      await page.fill('#token', text);
      await page.keyboard.press('Tab');
    }
    await page.goto(`${server.base}${path}`);
    return page;
  };
  const goesTo = (page, id, wanted) => until(`${id} to be ${wanted}`, async () =>
    (await page.locator(`#${id}-state`).getAttribute('data-state')) === wanted, 20_000);
  await noting(async () => {
    const publishing = await visit('?publish=cam', token({ id: 'cam', mode: 2 }));
    await publishing.click('#publish-go');
    await goesTo(publishing, 'publish', 'connected');
    const watching = await visit('?watch=cam', token({ id: 'cam', mode: 4 }));
    await goesTo(watching, 'watch', 'connected');
    const frames = () => watching.locator('#watch-video').evaluate((video) => video.getVideoPlaybackQuality().totalVideoFrames);
    await until('pictures', async () => (await frames()) > 10, 20_000);
    const stranger = await visit('?watch=cam');
    await goesTo(stranger, 'watch', 'failed');
    for (const page of [publishing, watching]) assert.doesNotMatch(page.url(), /ey/);
  });
});
