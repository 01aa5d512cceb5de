// Data channels between browsers, through the server.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

import { moreFrames, probe, publish, scenario, stage, watch } from './browser.mjs';
import { streamInfo } from './server.mjs';
import { finished, missing, pause, run, until, venvPython } from './tools.mjs';

const AIORTC = fileURLToPath(new URL('./clients/aiortc_peer.py', import.meta.url));

const say = (page, label, data) => page.evaluate(([to, what]) => globalThis.say(to, what), [label, data]);
const heard = (page) => page.evaluate(() => globalThis.heard());
const channels = (page) => page.evaluate(() => globalThis.channels());
const labels = async (page) => (await channels(page)).map(({ label }) => label).sort();
async function hears(page, count) {
  let all = [];
  const come = async () => (all = await heard(page)).length >= count;
  await until(`${count} messages`, come).catch((error) => assert.fail(`${error.message}: ${JSON.stringify(all)}`));
  return all;
}

test('data channels', async (suite) => {
  const shared = await stage(suite);
  if (!shared) return;
  const { server } = shared;

  await scenario(suite, 'text and bytes pass both ways, on reliable and on unreliable channels', {}, async ({ open }) => {
    const publisher = await open(shared);
    const game = { label: 'game', ordered: false, maxRetransmits: 0, protocol: 'json' };
    const given = { channels: [{ label: 'chat' }, game, { label: 'late', maxPacketLifeTime: 500 }] };
    await publish(publisher, server, 'data', given);
    // One has a channel of the label, the other is opened it.
    const viewers = [await open(shared), await open(shared)];
    await watch(viewers[0], server, 'data', { channels: [{ label: 'chat' }] });
    await watch(viewers[1], server, 'data', { channels: [{ label: 'own' }] });
    await until('the channels', async () => (await channels(viewers[0])).length === 3 && (await channels(viewers[1])).length === 4);
    assert.deepEqual(await labels(viewers[0]), ['chat', 'game', 'late']);
    for (const viewer of viewers) {
      const opened = (await channels(viewer)).find(({ label }) => label === 'game');
      const { ordered, maxRetransmits, maxPacketLifeTime, protocol, negotiated } = opened;
      assert.deepEqual({ ordered, maxRetransmits, maxPacketLifeTime, protocol, negotiated },
        { ordered: false, maxRetransmits: 0, maxPacketLifeTime: null, protocol: 'json', negotiated: false });
      assert.equal((await channels(viewer)).find(({ label }) => label === 'late').maxPacketLifeTime, 500);
    }

    // What may be lost goes first: behind the large one it would be too late on a busy machine.
    const said = [['game', 'go'], ['late', 5], ['chat', 'h\u00e4llo'], ['chat', ''], ['chat', 0], ['chat', 200_000]];
    for (const [label, data] of said) await say(publisher, label, data);
    for (const viewer of viewers) {
      const all = await hears(viewer, said.length);
      assert.deepEqual(all.filter(({ label }) => label === 'chat'), [
        { label: 'chat', text: 'h\u00e4llo' }, { label: 'chat', text: '' },
        { label: 'chat', bytes: [], size: 0 }, { label: 'chat', bytes: Array(8).fill(7), size: 200_000 },
      ]);
      assert.deepEqual(all.filter(({ label }) => label !== 'chat').sort((a, b) => a.label.localeCompare(b.label)), [
        { label: 'game', text: 'go' }, { label: 'late', bytes: Array(5).fill(7), size: 5 },
      ]);
    }

    await say(viewers[0], 'chat', 'one');
    await hears(publisher, 1);
    await say(viewers[1], 'chat', 200_000);
    await hears(publisher, 2);
    await say(viewers[1], 'game', '');
    assert.deepEqual(await hears(publisher, 3), [
      { label: 'chat', text: 'one' }, { label: 'chat', bytes: Array(8).fill(7), size: 200_000 }, { label: 'game', text: '' },
    ]);
    for (const viewer of viewers) await moreFrames(viewer, 5);
    const stream = await streamInfo(server, 'data');
    assert.ok([...stream.publish.sessions, ...stream.subscribe.sessions].every(({ hasDataChannel }) => hasDataChannel));
    assert.equal(await publisher.evaluate(() => globalThis.sctpMessageSize()), 262_144);
  });

  await scenario(suite, 'a late viewer is opened the channels, and they end with the publisher', {}, async ({ open }) => {
    const early = await open(shared);
    await watch(early, server, 'late', { channels: [{ label: 'chat' }] });
    const first = await open(shared);
    await publish(first, server, 'late', { channels: [{ label: 'chat' }, { label: 'first' }] });
    await until('the channels', async () => (await channels(early)).length === 2);
    await pause(1000);
    const late = await open(shared);
    await watch(late, server, 'late', { channels: [{ label: 'own' }] });
    await until('the channels', async () => (await channels(late)).length === 3);
    await say(first, 'chat', 'one');
    for (const viewer of [early, late]) assert.deepEqual(await hears(viewer, 1), [{ label: 'chat', text: 'one' }]);

    await first.evaluate(() => globalThis.hush('first'));
    await until('the end of a channel', async () => (await channels(early)).length === 1);
    await first.evaluate(() => globalThis.stopSession());
    await until('the end of the others', async () => (await channels(late)).length === 1);
    assert.deepEqual(await labels(early), ['chat']);
    assert.deepEqual(await labels(late), ['own']);
    const second = await open(shared);
    await publish(second, server, 'late', { channels: [{ label: 'chat' }] });
    await until('the next one', async () => (await labels(late)).includes('chat'));
    await say(second, 'chat', 'two');
    for (const viewer of [early, late]) assert.deepEqual((await hears(viewer, 2)).at(-1), { label: 'chat', text: 'two' });
    await say(early, 'chat', 'back');
    assert.deepEqual(await hears(second, 1), [{ label: 'chat', text: 'back' }]);
    assert.equal((await probe(late)).connectionCount, 1);
  });

  await scenario(suite, 'channels that pages agreed on need no opening', {}, async ({ open }) => {
    const agreed = { channels: [{ label: 'agreed', negotiated: true, id: 7 }] };
    const publisher = await open(shared);
    await publish(publisher, server, 'agreed', agreed);
    const viewers = [await open(shared), await open(shared)];
    for (const viewer of viewers) await watch(viewer, server, 'agreed', agreed);
    for (const page of [publisher, ...viewers]) await until('the channel', async () => (await channels(page)).length === 1);
    await pause(500);
    await say(viewers[0], 'agreed', 'first');
    assert.deepEqual(await hears(publisher, 1), [{ label: 'agreed', text: 'first' }]);
    await say(publisher, 'agreed', 3);
    for (const viewer of viewers) assert.deepEqual(await hears(viewer, 1), [{ label: 'agreed', bytes: [7, 7, 7], size: 3 }]);
  });

  await scenario(suite, 'aiortc talks with pages, as a publisher and as a viewer', {}, async ({ context, open }) => {
    const python = venvPython();
    if (!python) return missing(context, 'no .venv with aiortc: run setup.sh');
    const publisher = run(python, [AIORTC, 'publish', `${server.base}whip/echo`, 'VP8', 'echo']);
    try {
      await until('the publisher to connect', () => /^connected$/m.test(publisher.output), 20_000);
      const viewer = await open(shared);
      await watch(viewer, server, 'echo', { channels: [{ label: 'own' }] });
      await until('the channel', async () => (await labels(viewer)).includes('echo'));
      await say(viewer, 'echo', 'h\u00e4llo');
      await say(viewer, 'echo', 5000);
      assert.deepEqual(await hears(viewer, 2), [{ label: 'echo', text: 'h\u00e4llo' }, { label: 'echo', bytes: Array(8).fill(7), size: 5000 }]);
    } finally {
      await publisher.stop();
    }

    const page = await open(shared);
    await publish(page, server, 'to-aiortc', { channels: [{ label: 'echo' }] });
    const viewer = run(python, [AIORTC, 'watch', `${server.base}whep/to-aiortc`, '6', 'echo']);
    assert.deepEqual(await hears(page, 1), [{ label: 'echo', text: 'hello' }]);
    await say(page, 'echo', 'welcome');
    await say(page, 'echo', 3);
    const { output } = await finished(viewer);
    assert.deepEqual(JSON.parse(output.trim().split('\n').pop()).heard, ['welcome', [7, 7, 7]], output);
  });
});
