// Viewers of a server that goes away, and another one that has the stream too.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertFlows, moreFrames, probe, publish, scenario, stage, watch } from './browser.mjs';
import { startServer } from './server.mjs';
import { until } from './tools.mjs';

const NAME = 'cam';
const BLACK_MS_MAX = 1000;

async function drain(server, wish) {
  const response = await fetch(`${server.base}api/drain`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(wish),
  });
  assert.equal(response.status, 202);
}

const left = async (server) => (await fetch(`${server.base}api/drain`)).json();

test('draining', async (suite) => {
  const shared = await stage(suite);
  if (!shared) return;
  const { server: refuge } = shared;

  /** A server of its own with a publisher and two viewers who see it; the refuge has the stream as well. */
  async function town(context, open) {
    const server = await startServer(context);
    for (const each of [server, refuge]) await publish(await open(shared), each, NAME);
    const viewers = [await open(shared), await open(shared)];
    for (const viewer of viewers) await watch(viewer, server, NAME);
    for (const viewer of viewers) await assertFlows(viewer, { ms: 2000 });
    return { server, viewers };
  }

  /** Waits until all have moved, and returns the longest time without a picture that one of them had, in ms. */
  async function longestBlack(viewers, since, context) {
    const gaps = [];
    for (const [index, viewer] of viewers.entries()) {
      await until('the viewer to have moved', async () => (await probe(viewer)).sessionUrl?.startsWith(refuge.base));
      await moreFrames(viewer, 20);
      const { longestMs, count } = await viewer.evaluate((from) => globalThis.gaps(from), since[index]);
      assert.ok(count > since[index] + 20, 'pictures were seen');
      assert.equal((await probe(viewer)).connectionCount, 2, 'one new session');
      gaps.push(Math.round(longestMs));
    }
    context.diagnostic(`longest time without a new picture: ${gaps.join(' and ')} ms`);
    return Math.max(...gaps);
  }

  const picturesSoFar = (viewers) =>
    Promise.all(viewers.map(async (viewer) => (await viewer.evaluate(() => globalThis.gaps())).count));

  await scenario(suite, 'viewers of a server that drains move to another one with less than a second of black', {}, async ({ context, open }) => {
    const { server, viewers } = await town(context, open);
    const since = await picturesSoFar(viewers);
    await drain(server, { deadlineSeconds: 60, reconnectUrl: `${refuge.base}whep/{stream}` });
    assert.ok((await longestBlack(viewers, since, context)) <= BLACK_MS_MAX);
    for (const viewer of viewers) assert.ok(!(await probe(viewer)).states.includes('reconnecting'));
    await until('nobody but the publisher to be left', async () => {
      const { state, sessions } = await left(server);
      return state === 'draining' && sessions.publish === 1 && sessions.subscribe === 0;
    });
    await drain(server, { deadlineSeconds: 0 });
    await until('the publisher to be let go', async () => (await left(server)).state === 'drained');
    for (const viewer of viewers) await assertFlows(viewer, { ms: 1500 });
  });

  await scenario(suite, 'viewers of a server that is told to end move in time', {}, async ({ context, open }) => {
    const { server, viewers } = await town(context, open);
    const since = await picturesSoFar(viewers);
    await drain(server, { reconnectUrl: `${refuge.base}whep/{stream}` });
    await server.stop();
    assert.ok((await longestBlack(viewers, since, context)) <= BLACK_MS_MAX);
    for (const viewer of viewers) await assertFlows(viewer, { ms: 1500 });
  });
});
