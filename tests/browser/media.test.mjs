// What is in the packets: redundant and encrypted media, levels, what is measured of a publisher, and
// publishers that follow what their network carries.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertFlows, moreFrames, probe, publish, scenario, stage, watch } from './browser.mjs';
import { startRelay } from './relay.mjs';
import { streamInfo } from './server.mjs';
import { pause, until } from './tools.mjs';

test('Chromium, and what is in its packets', async (suite) => {
  const shared = await stage(suite);
  if (!shared) return;
  const { server } = shared;
  const { udpPort } = await (await fetch(`${server.base}api/info`)).json();

  await scenario(suite, 'redundant audio is passed on, unwrapped for others, and survives losses', {}, async ({ open }) => {
    const publisher = await open(shared);
    await publish(publisher, server, 'red', { codec: 'VP8', red: true });
    assert.equal((await probe(publisher)).audioCodec, 'audio/red');
    const relay = await startRelay(suite, udpPort);
    const [redundant, plain] = [await open(shared), await open(shared)];
    await watch(redundant, server, 'red', { relayPort: relay.port });
    await watch(plain, server, 'red', { red: false });
    await assertFlows(redundant, { video: 'VP8', audio: 'red' });
    await assertFlows(plain, { video: 'VP8' });
    relay.down.loss = 0.1;
    const before = await probe(redundant);
    await pause(10_000);
    const after = await probe(redundant);
    const lost = after.audioLost - before.audioLost;
    const concealed = (after.audioConcealed - before.audioConcealed) / (after.audioSamples - before.audioSamples);
    console.log(`of ${after.audioPackets - before.audioPackets} packets ${lost} were lost, ${(concealed * 100).toFixed(1)} % of the sound was made up`);
    assert.ok(concealed < 0.04, `${concealed} of the samples were concealed`);
    relay.down.loss = 0;
    const { codecs } = await streamInfo(server, 'red');
    assert.deepEqual(codecs.map(({ codec }) => codec), ['opus', 'VP8'], 'it is shown as what it wraps');
  });

  await scenario(suite, 'media that is encrypted from end to end is forwarded to who has the key', {}, async ({ open }) => {
    const clearBytes = { audio: 1, video: 10 };
    const publisher = await open(shared);
    await publish(publisher, server, 'secret', { codec: 'VP8', clearBytes });
    const [knows, guesses] = [await open(shared), await open(shared)];
    await watch(knows, server, 'secret', { clearBytes });
    await watch(guesses, server, 'secret');
    await assertFlows(knows, { video: 'VP8' });
    const stranger = await probe(guesses);
    assert.ok(stranger.videoPackets > 50, 'the packets come all the same');
    const { diagnosis } = await streamInfo(server, 'secret');
    assert.equal(diagnosis, undefined);
  });

  await scenario(suite, 'a publisher is measured, heard, and nothing is found to be wrong', {}, async ({ open }) => {
    const publisher = await open(shared);
    await publish(publisher, server, 'measured', { codec: 'H264', width: 640, height: 480 });
    const viewer = await open(shared);
    await watch(viewer, server, 'measured');
    await moreFrames(viewer, 30);
    const found = await until('all of it', async () => {
      const stream = await streamInfo(server, 'measured');
      const [session] = stream.publish.sessions;
      const video = session.tracks?.find(({ kind }) => kind === 'video');
      return video?.layers[0].width === 640 && session.audio ? { stream, session, layer: video.layers[0] } : null;
    }, 20_000);
    assert.equal(found.layer.height, 480);
    assert.ok(found.layer.framesPerSecond >= 10, JSON.stringify(found.layer));
    assert.equal(found.layer.packetsLost, 0);
    assert.equal(found.stream.diagnosis, undefined, JSON.stringify(found.stream.diagnosis));
    // The fake microphone beeps once a second.
    assert.ok(found.session.audio.level > -127, JSON.stringify(found.session.audio));
  });

  await scenario(suite, 'a publisher sends less over a narrow link, and more again when it widens', {}, async ({ open }) => {
    const relay = await startRelay(suite, udpPort);
    const publisher = await open(shared);
    await publish(publisher, server, 'narrow', { codec: 'VP8', width: 1280, height: 720, bitrateMax: 2_500_000, relayPort: relay.port });
    const rate = async (ms) => {
      const before = await probe(publisher);
      await pause(ms);
      return ((await probe(publisher)).videoBytes - before.videoBytes) * 8000 / ms;
    };
    const wide = await until('a full rate', async () => {
      const now = await rate(1000);
      return now > 1_200_000 ? now : null;
    }, 40_000);
    relay.up.bitrate = 500_000;
    const narrow = await until('a rate that fits', async () => {
      const now = await rate(2000);
      return now < 550_000 ? now : null;
    }, 30_000);
    relay.up.bitrate = 0;
    const again = await until('a full rate again', async () => {
      const now = await rate(1000);
      return now > 1_000_000 ? now : null;
    }, 60_000);
    console.log(`the publisher sent ${[wide, narrow, again].map((bps) => Math.round(bps / 1000)).join(', ')} kbit/s`);
  });
});
