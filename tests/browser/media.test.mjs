// What is in the packets: encrypted media, levels, what is measured of a publisher.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertFlows, moreFrames, probe, publish, scenario, stage, watch } from './browser.mjs';
import { streamInfo } from './server.mjs';
import { pause, until } from './tools.mjs';

test('Chromium, and what is in its packets', async (suite) => {
  const shared = await stage(suite);
  if (!shared) return;
  const { server } = shared;

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
});
