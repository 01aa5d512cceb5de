// Chromium behind bad networks: losses in both directions, links that become narrow.
//
// LOSS_SECONDS=180 looks at the losses for as long as that, and wants no freeze at all: for a machine with
// nothing else to do.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertFlows, moreFrames, probe, publish, scenario, stage, watch } from './browser.mjs';
import { startRelay } from './relay.mjs';
import { pause, until } from './tools.mjs';

const LOSS_SECONDS = Number(process.env.LOSS_SECONDS ?? 8);

test('Chromium behind bad networks', async (suite) => {
  const shared = await stage(suite);
  if (!shared) return;
  const { server } = shared;
  const { udpPort } = await (await fetch(`${server.base}api/info`)).json();

  for (const codec of ['VP8', 'H264']) {
    const timeout = 120_000 + LOSS_SECONDS * 1000;
    await scenario(suite, `${codec} does not freeze while 5 % are lost`, { timeout }, async ({ context, open }) => {
      const name = `loss-${codec}`;
      const [there, back] = [await startRelay(context, udpPort), await startRelay(context, udpPort)];
      for (const path of [there.up, there.down, back.up, back.down]) Object.assign(path, { loss: 0.05, delayMs: 10 });
      const publisher = await open(shared);
      await publish(publisher, server, name, { codec, relayPort: there.port });
      const viewers = { 'lossy way to the viewer': await open(shared), 'good way to the viewer': await open(shared) };
      const [lossy, good] = Object.values(viewers);
      await watch(lossy, server, name, { relayPort: back.port });
      await watch(good, server, name);
      for (const viewer of [lossy, good]) await assertFlows(viewer, { video: codec });
      const before = await Promise.all([lossy, good].map(probe));
      await pause(LOSS_SECONDS * 1000);
      const after = await Promise.all([lossy, good].map(probe));
      for (const [index, title] of Object.keys(viewers).entries()) {
        const since = (member) => after[index][member] - before[index][member];
        const rate = since('framesDecoded') / LOSS_SECONDS;
        const seen = `${title}: ${rate.toFixed(1)} pictures a second, ${since('freezeCount')} freezes of ${Math.round(since('freezeMs'))} ms, ${since('nackCount')} NACKs, ` +
          `${since('retransmitted')} sent again, ${since('pliCount')} PLIs, ${since('lost')} lost for good`;
        console.log(`${codec}, ${seen}`);
        assert.ok(since('freezeMs') <= (process.env.LOSS_SECONDS ? 0 : 1000), seen);
        assert.ok(rate >= 17, seen);
        // Sound is not sent again: of 50 a second 45 pass both links, give or take.
        assert.ok(since('audioPackets') >= LOSS_SECONDS * 42, `sound: ${since('audioPackets')} packets; ${seen}`);
      }
      assert.ok(after[0].retransmitted - before[0].retransmitted >= 3, 'nothing was sent again: nothing was lost');
    });
  }

  await scenario(suite, 'a viewer whose link becomes narrow gets a smaller layer, and the large one again', {}, async ({ context, open }) => {
    const relay = await startRelay(context, udpPort);
    for (const path of [relay.up, relay.down]) path.delayMs = 10;
    const publisher = await open(shared);
    const layers = [['q', 4], ['h', 2], ['f', 1]].map(([rid, scaleResolutionDownBy]) => ({ rid, scaleResolutionDownBy }));
    await publish(publisher, server, 'narrow', { codec: 'VP8', layers, width: 960, height: 540, bitrateMax: 1_500_000 });
    const viewer = await open(shared);
    relay.down.bitrate = 4_000_000;
    await watch(viewer, server, 'narrow', { relayPort: relay.port });
    await until('the largest', async () => (await probe(viewer)).width === 960, 40_000);
    await moreFrames(viewer, 40);
    const before = await probe(viewer);
    const took = {};
    relay.down.bitrate = 350_000;
    let since = Date.now();
    await until('a smaller one', async () => (await probe(viewer)).width < 960, 10_000, 20);
    took.down = Date.now() - since;
    await assertFlows(viewer, { ms: 5000, freezeMsMax: 2000 });
    const narrow = await probe(viewer);
    relay.down.bitrate = 4_000_000;
    since = Date.now();
    await until('the largest again', async () => (await probe(viewer)).width === 960, 30_000, 50);
    took.up = Date.now() - since;
    await assertFlows(viewer, { freezeMsMax: 1500 });
    console.log(`a smaller layer after ${took.down} ms, ${narrow.freezeCount - before.freezeCount} freezes of ` +
      `${Math.round(narrow.freezeMs - before.freezeMs)} ms meanwhile, the large one again after ${took.up} ms`);
    assert.equal((await probe(viewer)).connectionCount, 1);
  });
});
