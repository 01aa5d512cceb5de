// Chromium publishes, Chromium watches: every codec, late joins, reloads, ends.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertFlows, moreFrames, probe, publish, scenario, stage, watch } from './browser.mjs';
import { streamInfo } from './server.mjs';
import { pause, until } from './tools.mjs';

const CODECS = ['H264', 'VP8', 'VP9', 'AV1'];

test('Chromium', async (suite) => {
  const shared = await stage(suite);
  if (!shared) return;
  const { server } = shared;

  for (const codec of CODECS) {
    await scenario(suite, `${codec} and Opus reach two viewers`, {}, async ({ open }) => {
      const name = `codec-${codec}`;
      const publisher = await open(shared);
      await publish(publisher, server, name, { codec });
      const viewers = [await open(shared), await open(shared)];
      for (const viewer of viewers) await watch(viewer, server, name);
      for (const viewer of viewers) await assertFlows(viewer, { video: codec });
      for (const viewer of viewers) assert.equal((await probe(viewer)).connectionCount, 1);
    });
  }

  const SCALABLE = [
    { title: 'VP9 in layers of size and rate is forwarded whole', codec: 'VP9', mode: 'L2T3_KEY' },
    { title: 'AV1 in layers of rate is forwarded whole', codec: 'AV1', mode: 'L1T3' },
    { title: 'VP8 in layers of rate is forwarded whole', codec: 'VP8', mode: 'L1T2' },
  ];
  for (const { title, codec, mode } of SCALABLE) {
    await scenario(suite, title, {}, async ({ open }) => {
      const name = `layers-${codec}`;
      const publisher = await open(shared);
      await publish(publisher, server, name, { codec, scalabilityMode: mode, width: 640, height: 480 });
      const viewer = await open(shared);
      await watch(viewer, server, name);
      await assertFlows(viewer, { video: codec });
      await until('the encoder to say its layers', async () => (await probe(publisher)).scalabilityMode === mode);
      // All layers together are the whole picture.
      await until('the full width', async () => (await probe(viewer)).width === (await probe(publisher)).width);
    });
  }

  const SIMULCAST = [
    { title: 'a viewer changes between simulcast layers without a break', codec: 'VP8' },
    { title: 'H264 in simulcast layers is changed without a break', codec: 'H264' },
    // Without a mode of their own the layers of VP9 are those of one stream.
    { title: 'VP9 in simulcast layers is changed without a break', codec: 'VP9', mode: 'L1T2' },
    { title: 'AV1 in simulcast layers is changed without a break', codec: 'AV1', mode: 'L1T1' },
  ];
  for (const { title, codec, mode: scalabilityMode } of SIMULCAST) {
    await scenario(suite, title, {}, async ({ open }) => {
      const name = `simulcast-${codec}`;
      const publisher = await open(shared);
      const scales = { q: 4, h: 2, f: 1 };
      const layers = Object.entries(scales).map(([rid, scaleResolutionDownBy]) => ({ rid, scaleResolutionDownBy, scalabilityMode }));
      await publish(publisher, server, name, { codec, layers, width: 960, height: 540 });
      const viewer = await open(shared);
      await watch(viewer, server, name);
      await assertFlows(viewer, { video: codec });
      const url = new URL(`${(await probe(viewer)).sessionUrl}/layer`, server.base);
      const listed = await (await fetch(url)).json();
      assert.deepEqual(listed, [{ encodingId: 'q' }, { encodingId: 'h' }, { encodingId: 'f' }]);
      // The encoder takes its time to send all of them.
      await until('the largest', async () => (await probe(viewer)).width === 960, 40_000);
      const took = {};
      for (const [encodingId, width] of [['q', 240], ['f', 960], ['h', 480], ['q', 240], ['h', 480]]) {
        const before = await probe(viewer);
        const asked = Date.now();
        const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ encodingId }) });
        assert.equal(answer.status, 200, await answer.text());
        await until(`a width of ${width}`, async () => (await probe(viewer)).width === width, 5000, 20);
        took[`${encodingId} ${before.width}`] = Date.now() - asked;
        await assertFlows(viewer, { ms: 1500, freezeMsMax: 700 });
        const after = await probe(viewer);
        assert.equal(after.pliCount, before.pliCount, 'the viewer had to ask for a key frame');
        assert.equal(after.freezeCount, before.freezeCount, 'the picture froze');
        const stream = await streamInfo(server, name);
        assert.equal(stream.subscribe.sessions[0].layer, encodingId);
      }
      console.log(`${codec} layers were changed after ${JSON.stringify(took)} ms`);
      assert.equal((await probe(viewer)).connectionCount, 1);
    });
  }

  await scenario(suite, 'a viewer changes between the layers of one VP9 stream without a break', {}, async ({ open }) => {
    const publisher = await open(shared);
    await publish(publisher, server, 'scalable', { codec: 'VP9', scalabilityMode: 'L3T3_KEY', width: 960, height: 540, bitrateMax: 1_500_000 });
    const viewer = await open(shared);
    await watch(viewer, server, 'scalable');
    await until('the largest', async () => (await probe(viewer)).width === 960, 40_000);
    const url = new URL(`${(await probe(viewer)).sessionUrl}/layer`, server.base);
    const choose = (choice) => fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(choice) });
    // Layers are known once they were measured.
    await until('the smallest to be there', async () => (await choose({ spatialLayerId: 0 })).status === 200);
    const took = {};
    for (const [choice, width] of [[{ spatialLayerId: 0 }, 240], [{ maxSpatialLayerId: 1 }, 480], [{}, 960], [{ maxWidth: 500 }, 480]]) {
      const before = await probe(viewer);
      const asked = Date.now();
      assert.equal((await choose(choice)).status, 200, JSON.stringify(choice));
      await until(`a width of ${width}`, async () => (await probe(viewer)).width === width, 5000, 20);
      took[`${width} ${before.width}`] = Date.now() - asked;
      await assertFlows(viewer, { ms: 1500, video: 'VP9', freezeMsMax: 700 });
      const after = await probe(viewer);
      assert.equal(after.pliCount, before.pliCount, 'the viewer had to ask for a key frame');
    }
    const rate = async () => {
      const first = await probe(viewer);
      await pause(2000);
      return ((await probe(viewer)).framesDecoded - first.framesDecoded) / 2;
    };
    const all = await rate();
    assert.equal((await choose({ temporalLayerId: 0 })).status, 200);
    await pause(500);
    const slow = await rate();
    assert.ok(slow < all * 0.5 && slow > 2, `every fourth picture of ${all} a second: ${slow}`);
    assert.equal((await choose({ temporalLayerId: 7 })).status, 422);
    console.log(`layers of VP9 were changed after ${JSON.stringify(took)} ms, ${all} and ${slow} pictures a second`);
  });

  await scenario(suite, 'picture and sound pass over TCP alone', {}, async ({ open }) => {
    const publisher = await open(shared);
    await publish(publisher, server, 'tcp', { onlyTcp: true });
    const viewers = [await open(shared), await open(shared)];
    await watch(viewers[0], server, 'tcp', { onlyTcp: true });
    await watch(viewers[1], server, 'tcp');
    for (const viewer of viewers) await assertFlows(viewer);
    const transports = await Promise.all([publisher, ...viewers].map(async (page) => (await probe(page)).transport));
    assert.deepEqual(transports, ['tcp', 'tcp', 'udp']);
  });

  await scenario(suite, 'a late viewer has a picture within a second', {}, async ({ open }) => {
    const publisher = await open(shared);
    await publish(publisher, server, 'late');
    await pause(5000);
    const viewer = await open(shared);
    await watch(viewer, server, 'late');
    const { firstFrameMs } = await until('a first frame', async () => {
      const now = await probe(viewer);
      return now.firstFrameMs === null ? null : now;
    });
    assert.ok(firstFrameMs <= 1000, `first frame ${firstFrameMs} ms after the POST`);
    await assertFlows(viewer);
  });

  await scenario(suite, 'a viewer that comes before the publisher sees it without a new session', {}, async ({ open }) => {
    const viewer = await open(shared);
    await watch(viewer, server, 'early');
    await until('the viewer to be connected', async () => (await probe(viewer)).state === 'connected');
    await pause(1000);
    const publisher = await open(shared);
    await publish(publisher, server, 'early');
    const last = await assertFlows(viewer);
    assert.equal(last.connectionCount, 1);
  });

  await scenario(suite, 'a viewer whose offer has no codec of the stream answers a counter-offer and plays', {}, async ({ open }) => {
    const publisher = await open(shared);
    await publish(publisher, server, 'counter', { codec: 'VP9', onlyOffer: 'VP9' });
    const viewer = await open(shared);
    await watch(viewer, server, 'counter', { onlyOffer: 'VP8', kinds: ['video'] });
    const last = await assertFlows(viewer, { video: 'VP9' });
    assert.equal(last.connectionCount, 2, 'one peer connection for its own offer, one for the server’s');
  });

  const RELOADS = [
    { title: 'reloads with DELETE', forget: false, codec: '' },
    // Nobody says goodbye: the new publisher may take over once the old one is silent.
    { title: 'reloads without DELETE', forget: true, codec: '' },
    { title: 'reloads with another codec order', forget: false, codec: 'VP9', before: 'VP8' },
  ];
  for (const { title, forget, codec, before = '' } of RELOADS) {
    await scenario(suite, `a viewer stays when the publisher ${title}`, {}, async ({ open }) => {
      const name = `reload-${title.replaceAll(' ', '-')}`;
      const publisher = await open(shared);
      await publish(publisher, server, name, { codec: before });
      const viewer = await open(shared);
      await watch(viewer, server, name);
      await assertFlows(viewer, { ms: 1500 });
      const session = (await probe(viewer)).sessionUrl;
      if (forget) await publisher.evaluate(() => globalThis.forgetSession());
      await publisher.reload();
      await publisher.waitForFunction(() => globalThis.peerReady === true);
      await publish(publisher, server, name, { codec });
      await moreFrames(viewer, 10);
      const last = await assertFlows(viewer, { ms: 2000, video: codec || null });
      assert.equal(last.connectionCount, 1, 'the viewer had to connect again');
      assert.equal(last.sessionUrl, session);
    });
  }

  await scenario(suite, 'an ICE restart keeps picture and session', {}, async ({ open }) => {
    const publisher = await open(shared);
    await publish(publisher, server, 'restart');
    const viewer = await open(shared);
    await watch(viewer, server, 'restart');
    await assertFlows(viewer, { ms: 1500 });
    for (const page of [viewer, publisher]) {
      const before = await probe(page);
      await page.evaluate(() => globalThis.restartSession());
      const after = await until('the restart to be done', async () => {
        const now = await probe(page);
        return now.ufrag !== before.ufrag && now.state === 'connected' ? now : null;
      });
      assert.equal(after.sessionUrl, before.sessionUrl);
      const last = await assertFlows(viewer, { ms: 2500, freezeMsMax: 1000 });
      assert.equal(last.connectionCount, 1);
    }
    assert.equal((await probe(publisher)).connectionCount, 1);
  });

  await scenario(suite, 'a second publisher waits until the first has left', {}, async ({ open }) => {
    const first = await open(shared);
    await publish(first, server, 'taken');
    const viewer = await open(shared);
    await watch(viewer, server, 'taken');
    await assertFlows(viewer, { ms: 1000 });
    const second = await open(shared);
    const published = publish(second, server, 'taken');
    await until('the second to be told to wait', async () => (await probe(second)).states.includes('waiting'));
    await assertFlows(viewer, { ms: 1000 });
    assert.equal((await probe(first)).state, 'connected');
    await first.evaluate(() => globalThis.stopSession());
    await published;
    const last = await assertFlows(viewer, { ms: 1500 });
    assert.equal(last.connectionCount, 1);
  });

  await scenario(suite, 'DELETE ends a session within a second', {}, async ({ open }) => {
    const publisher = await open(shared);
    await publish(publisher, server, 'end');
    const viewer = await open(shared);
    await watch(viewer, server, 'end');
    await assertFlows(viewer, { ms: 1000 });
    const { sessionUrl } = await probe(viewer);
    await viewer.evaluate(() => globalThis.stopSession());
    await until('the viewer to be gone', async () => {
      const stream = await streamInfo(server, 'end');
      return stream && stream.subscribe.sessions.filter(({ state }) => state !== 'closed').length === 0;
    }, 1000, 50);
    assert.equal((await fetch(sessionUrl, { method: 'DELETE' })).status, 404);
    assert.equal((await streamInfo(server, 'end')).publish.sessions.length, 1, 'the publisher stays');
    await publisher.evaluate(() => globalThis.stopSession());
    await until('the publisher to be gone', async () => {
      const stream = await streamInfo(server, 'end');
      return !stream || stream.publish.sessions.filter(({ state }) => state !== 'closed').length === 0;
    }, 1000, 50);
  });

  await scenario(suite, 'closing the page ends its session', {}, async ({ open }) => {
    const publisher = await open(shared);
    await publish(publisher, server, 'closed-page');
    await publisher.goto('about:blank');
    await until('the publisher to be gone', async () => {
      const stream = await streamInfo(server, 'closed-page');
      return !stream || stream.publish.sessions.filter(({ state }) => state !== 'closed').length === 0;
    }, 2000, 50);
  });

  await scenario(suite, 'a publisher whose session is deleted by the server is told and stops', {}, async ({ open }) => {
    const publisher = await open(shared);
    await publish(publisher, server, 'kicked');
    const { sessionUrl } = await probe(publisher);
    assert.equal((await fetch(sessionUrl, { method: 'DELETE' })).status, 204);
    await until('the end to be seen', async () => (await probe(publisher)).state === 'ended', 3000);
  });

  // The last one: it takes the server away from under everything.
  await scenario(suite, 'publisher and viewer come back to a restarted server by themselves', {}, async ({ open }) => {
    const publisher = await open(shared);
    await publish(publisher, server, 'again');
    const viewer = await open(shared);
    await watch(viewer, server, 'again');
    await assertFlows(viewer, { ms: 1000 });
    const before = [(await probe(publisher)).sessionUrl, (await probe(viewer)).sessionUrl];
    await server.restart();
    for (const [index, page] of [publisher, viewer].entries()) {
      await until('a new session', async () => {
        const now = await probe(page);
        return now.state === 'connected' && now.sessionUrl !== before[index];
      }, 30_000);
    }
    await assertFlows(viewer, { ms: 1500 });
  });
});
