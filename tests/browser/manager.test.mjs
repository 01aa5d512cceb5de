// A page that publishes and pages that watch through a manager, while nodes are killed.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertFlows, moreFrames, probe, scenario, stage } from './browser.mjs';
import { startFleet } from './server.mjs';
import { until } from './tools.mjs';

const NAME = 'cam';
const BLACK_MS_MAX = 3000;
// A publisher has nobody who tells it: it notices that no reports come, and asks.
const PUBLISHER_BACK_MS_MAX = 3000;

test('nodes behind a manager', async (suite) => {
  const shared = await stage(suite);
  if (!shared) return;

  const publish = (page, fleet, query = '') =>
    page.evaluate((url) => globalThis.publish(url), `${fleet.base}whip/${NAME}${query}`);
  const watch = (page, fleet, query = '') =>
    page.evaluate((url) => globalThis.watch(url), `${fleet.base}whep/${NAME}${query}`);
  /** The alias of the node a page's session is on, as its URL says. */
  const home = async (page) => new URL((await probe(page)).sessionUrl ?? 'none:').pathname.split('/').pop().split('~')[0];
  const counted = (page) => page.evaluate(() => globalThis.gaps().count);

  /** Waits until a page is elsewhere and has a picture; the longest time without one since the `since`th, in ms. */
  async function moved(page, from, since) {
    const isElsewhere = async () => {
      const now = await home(page);
      return now && now !== from;
    };
    await until('the page to have moved', isElsewhere, 30_000);
    await moreFrames(page, 20);
    const { longestMs, count } = await page.evaluate((from) => globalThis.gaps(from), since);
    assert.ok(count > since + 20, 'pictures were seen');
    return Math.round(longestMs);
  }

  await scenario(suite, 'a viewer whose node is killed sees the stream again on another within three seconds', {}, async ({ context, open }) => {
    const fleet = await startFleet(context, ['a', 'b', 'c']);
    const publisher = await open(shared);
    await publish(publisher, fleet, '?nodes=a');
    const [viewer, witness] = [await open(shared), await open(shared)];
    await watch(witness, fleet, '?nodes=a');
    await watch(viewer, fleet);
    // It would stay with the publisher's node, which has room: so it is told where to go, once.
    assert.equal(await home(viewer), 'a');
    await viewer.evaluate(() => globalThis.stopSession());
    await watch(viewer, fleet, '?nodes=b&nodes=c');
    await assertFlows(viewer, { ms: 2000 });
    const first = await home(viewer);
    assert.ok(first === 'b' || first === 'c', first);
    const since = await counted(viewer);
    await fleet.nodes.get(first).kill();
    const black = await moved(viewer, first, since);
    context.diagnostic(`longest time without a new picture: ${black} ms`);
    assert.ok(black <= BLACK_MS_MAX, `${black} ms`);
    await assertFlows(viewer, { ms: 1500 });
    const { connectionCount } = await probe(witness);
    assert.equal(connectionCount, 1, 'who is on another node is not disturbed');
  });

  await scenario(suite, 'a publisher whose node is killed comes back by itself, and so do its viewers', {}, async ({ context, open }) => {
    const fleet = await startFleet(context, ['a', 'b']);
    const [publisher, viewer] = [await open(shared), await open(shared)];
    await publish(publisher, fleet, '?nodes=a&nodes=b');
    await watch(viewer, fleet);
    await assertFlows(viewer, { ms: 1500 });
    const first = await home(publisher);
    assert.equal(await home(viewer), first, 'where the publisher is there is room');
    const since = await counted(viewer);
    await fleet.nodes.get(first).kill();
    const black = await moved(viewer, first, since);
    context.diagnostic(`longest time without a new picture: ${black} ms`);
    assert.ok(black <= PUBLISHER_BACK_MS_MAX, `${black} ms`);
    assert.notEqual(await home(publisher), first);
    await assertFlows(viewer, { ms: 1500 });
  });
});
