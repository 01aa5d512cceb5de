import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { Publisher, Viewer, isWhepUrl } from '../whip-whep.js';
import { ANSWER, FakePeer, OFFER, RESTART, fakeFetch, reply, settle } from './fakes.mjs';

const WHIP = 'https://sfu.example/whip/cam';
const WHEP = 'https://sfu.example/whep/cam';
const created = (headers = {}) =>
  reply(201, { 'Content-Type': 'application/sdp', Location: '/session/cam/1', ETag: '"t1"', ...headers }, ANSWER);
const page = new EventTarget();
const platformFetch = globalThis.fetch;

let requests;
function serve(answer) {
  const fake = fakeFetch(answer);
  globalThis.fetch = fake.fetch;
  requests = fake.requests;
}
const of = (method) => requests.filter((request) => request.method === method);
const stream = () => ({
  tracks: [{ kind: 'audio' }, { kind: 'video' }],
  getTracks() { return this.tracks; },
});
async function advance(ms) {
  mock.timers.tick(ms);
  await settle();
}

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  mock.method(Math, 'random', () => 0);
  FakePeer.all = [];
  globalThis.RTCPeerConnection = FakePeer;
  globalThis.MediaStream = class {
    tracks = [];
    getTracks() { return [...this.tracks]; }
    addTrack(track) { this.tracks.push(track); }
    removeTrack(track) { this.tracks = this.tracks.filter((each) => each !== track); }
  };
  globalThis.RTCRtpSender = { getCapabilities: () => ({ codecs: [] }) };
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

test('the offer is posted as SDP with max-bundle and mux-only, before anything is gathered', async () => {
  // RFC 9725 §4.2, §4.4.1, §4.6: servers from the response take part in gathering.
  serve(() => created({ Link: '<stun:s.example>; rel="ice-server"' }));
  const publisher = new Publisher(WHIP, stream(), { bitrateMax: 1_000_000 });
  await publisher.start();
  const [post] = of('POST');
  assert.equal(post.url, WHIP);
  assert.equal(post.headers['Content-Type'], 'application/sdp');
  assert.equal(post.headers.Authorization, undefined);
  assert.equal(post.body.match(/a=rtcp-mux-only/g).length, 2);
  const [pc] = FakePeer.all;
  assert.equal(pc.configuration.bundlePolicy, 'max-bundle');
  assert.deepEqual(pc.configuration.iceServers, [{ urls: 'stun:s.example' }]);
  assert.deepEqual(pc.log, ['configure', 'local offer', 'remote answer']);
  assert.ok(pc.transceivers.every(({ init }) => init.direction === 'sendonly'));
  assert.equal(new Set(pc.transceivers.map(({ init }) => init.streams[0])).size, 1);
  assert.equal(pc.transceivers[1].sender.parameters.encodings[0].maxBitrate, 1_000_000);
  await publisher.stop();
});

test('the session URL counts from the final URL after a redirect', async () => {
  serve((request) =>
    request.method === 'POST'
      ? reply(201, { 'Content-Type': 'application/sdp', Location: 's/1' }, ANSWER, 'https://edge.example/x/whip/cam')
      : reply(204));
  const publisher = new Publisher(WHIP, stream(), { token: 'secret' });
  await publisher.start();
  assert.equal(publisher.sessionUrl, 'https://edge.example/x/whip/s/1');
  await publisher.stop();
  const [end] = of('DELETE');
  assert.equal(end.url, 'https://edge.example/x/whip/s/1');
  assert.equal(end.headers.Authorization, undefined, 'another origin must not see the token');
});

test('the token goes with POST, PATCH and DELETE', async () => {
  serve((request) => (request.method === 'POST' ? created() : reply(204)));
  const publisher = new Publisher(WHIP, stream(), { token: 'secret' });
  await publisher.start();
  FakePeer.all[0].candidate('candidate:1 1 udp 1 192.0.2.1 1 typ host');
  await advance(200);
  await publisher.stop();
  assert.deepEqual(requests.map(({ method }) => method), ['POST', 'PATCH', 'DELETE']);
  for (const { headers } of requests) assert.equal(headers.Authorization, 'Bearer secret');
});

test('candidates are gathered into one PATCH that names the entity tag', async () => {
  // RFC 9725 §4.3.2.
  serve((request) => (request.method === 'POST' ? created() : reply(204)));
  const viewer = new Viewer(WHEP);
  await viewer.start();
  const [pc] = FakePeer.all;
  pc.candidate('candidate:1 1 udp 1 192.0.2.1 1 typ host');
  pc.candidate('candidate:2 1 udp 1 192.0.2.1 2 typ host');
  assert.equal(of('PATCH').length, 0);
  await advance(200);
  pc.candidate(null);
  await advance(10);
  const patches = of('PATCH');
  assert.equal(patches.length, 2);
  assert.equal(patches[0].url, 'https://sfu.example/session/cam/1');
  assert.equal(patches[0].headers['If-Match'], '"t1"');
  assert.equal(patches[0].headers['Content-Type'], 'application/trickle-ice-sdpfrag');
  assert.equal(patches[0].body.match(/a=candidate/g).length, 2);
  assert.match(patches[1].body, /a=end-of-candidates/);
  await viewer.stop();
});

test('a server that refuses trickle is not asked again', async () => {
  serve((request) => (request.method === 'POST' ? created() : reply(request.method === 'PATCH' ? 422 : 204)));
  const viewer = new Viewer(WHEP);
  await viewer.start();
  for (let count = 0; count < 3; count += 1) {
    FakePeer.all[0].candidate(`candidate:${count} 1 udp 1 192.0.2.1 1 typ host`);
    await advance(200);
  }
  assert.equal(of('PATCH').length, 1);
  await viewer.stop();
});

test('a failed path is restarted with If-Match: * and new credentials', async () => {
  // RFC 9725 §4.3.3.
  serve((request) => {
    if (request.method === 'POST') return created();
    if (request.headers['If-Match'] === '*') return reply(200, { ETag: '"t2"' }, RESTART);
    return reply(204);
  });
  const publisher = new Publisher(WHIP, stream());
  await publisher.start();
  const [pc] = FakePeer.all;
  pc.become('connected');
  pc.become('failed');
  await settle();
  const [restart] = of('PATCH');
  assert.equal(restart.headers['If-Match'], '*');
  assert.match(restart.body, /a=ice-ufrag:cli2\r\n/);
  assert.match(pc.remotes.at(-1), /a=ice-ufrag:srv2\r\n/);
  assert.match(pc.remotes.at(-1), /192\.0\.2\.8/);
  pc.candidate('candidate:5 1 udp 1 192.0.2.1 5 typ host');
  await advance(200);
  assert.equal(of('PATCH').at(-1).headers['If-Match'], '"t2"');
  pc.become('connected');
  assert.equal(publisher.state, 'connected');
  assert.equal(of('POST').length, 1);
  await publisher.stop();
});

test('candidates found during a restart wait for its entity tag', async () => {
  let finish;
  serve((request) => {
    if (request.method === 'POST') return created();
    if (request.headers['If-Match'] === '*') return new Promise((resolve) => { finish = resolve; });
    return reply(204);
  });
  const viewer = new Viewer(WHEP);
  await viewer.start();
  const [pc] = FakePeer.all;
  pc.become('connected');
  viewer.restart();
  await settle();
  pc.candidate('candidate:5 1 udp 1 192.0.2.1 5 typ host');
  await advance(1000);
  assert.equal(of('PATCH').length, 1);
  finish(reply(200, { ETag: '"t2"' }, RESTART));
  await settle();
  await advance(200);
  assert.equal(of('PATCH').length, 2);
  assert.equal(of('PATCH')[1].headers['If-Match'], '"t2"');
  await viewer.stop();
});

test('the answer to a superseded restart is ignored', async () => {
  const waiting = [];
  serve((request) => {
    if (request.method !== 'PATCH') return request.method === 'POST' ? created() : reply(204);
    return new Promise((resolve) => waiting.push(resolve));
  });
  const viewer = new Viewer(WHEP);
  await viewer.start();
  const [pc] = FakePeer.all;
  pc.become('connected');
  viewer.restart();
  await settle();
  viewer.restart();
  waiting[0](reply(200, { ETag: '"t2"' }, RESTART.replaceAll('srv2', 'gone')));
  await settle();
  waiting[1](reply(200, { ETag: '"t3"' }, RESTART));
  await settle();
  assert.ok(pc.remotes.every((sdp) => !sdp.includes('gone')));
  assert.match(pc.remotes.at(-1), /srv2/);
  assert.ok(pc.log.includes('local rollback'));
  await viewer.stop();
});

test('a restart of a lost session becomes a new session', async () => {
  serve((request) => (request.method === 'POST' ? created() : reply(404)));
  const viewer = new Viewer(WHEP);
  await viewer.start();
  FakePeer.all[0].become('connected');
  FakePeer.all[0].become('failed');
  await settle();
  await advance(1000);
  assert.equal(of('POST').length, 2);
  assert.ok(FakePeer.all[0].log.includes('close'));
  FakePeer.all[1].become('connected');
  assert.equal(viewer.state, 'connected');
  await viewer.stop();
});

test('a short disconnection is left alone, a longer one is restarted', async () => {
  serve((request) => (request.method === 'POST' ? created() : reply(200, { ETag: '"t2"' }, RESTART)));
  const viewer = new Viewer(WHEP);
  await viewer.start();
  const [pc] = FakePeer.all;
  pc.become('connected');
  pc.become('disconnected');
  await advance(1500);
  pc.become('connected');
  await advance(5000);
  assert.equal(of('PATCH').length, 0);
  pc.become('disconnected');
  await advance(2100);
  assert.equal(of('PATCH').length, 1);
  await viewer.stop();
});

test('a connection that never comes up is replaced', async () => {
  serve((request) => (request.method === 'POST' ? created() : reply(204)));
  const viewer = new Viewer(WHEP);
  await viewer.start();
  await advance(12_100);
  await advance(600);
  assert.equal(of('DELETE').length, 1);
  assert.equal(of('POST').length, 2);
  await viewer.stop();
});

test('409, 429 and 503 are repeated after Retry-After, each later than the one before', async () => {
  // draft-ietf-wish-whep §4.3.8, RFC 9725 §4.5.
  const statuses = [409, 429, 503];
  serve((request, count) => {
    if (request.method !== 'POST') return reply(204);
    const status = statuses[count - 1];
    return status ? reply(status, { 'Retry-After': '2' }) : created();
  });
  const viewer = new Viewer(WHEP);
  const retries = [];
  viewer.addEventListener('retry', ({ detail }) => retries.push([detail.status, detail.delayMs]));
  const started = viewer.start();
  await settle();
  await advance(1900);
  assert.equal(of('POST').length, 1, 'not before Retry-After');
  await advance(200);
  assert.equal(of('POST').length, 2);
  await advance(4100);
  await advance(8100);
  await started;
  assert.deepEqual(retries, [[409, 2000], [429, 4000], [503, 8000]]);
  assert.equal(of('POST').length, 4);
  await viewer.stop();
});

test('a final refusal ends at once with the words of the server', async () => {
  for (const status of [400, 401, 403, 404, 418, 422, 499]) {
    serve(() => reply(status, { 'Content-Type': 'application/problem+json' }, JSON.stringify({ detail: 'no such thing' })));
    const viewer = new Viewer(WHEP);
    await assert.rejects(viewer.start(), { message: `no such thing (${status})`, status });
    assert.equal(viewer.state, 'failed');
    assert.equal(requests.length, 1);
  }
});

test('a publisher gives up after its number of tries', async () => {
  serve(() => reply(409));
  const publisher = new Publisher(WHIP, stream(), { retriesMax: 2 });
  const result = publisher.start().catch((error) => error.status);
  for (let count = 0; count < 10; count += 1) {
    await settle();
    await advance(30_000);
  }
  assert.equal(await result, 409);
  assert.equal(requests.length, 3);
});

test('a network that comes back is used at once', async () => {
  let online = false;
  serve((request) => {
    if (!online) throw new TypeError('offline');
    return request.method === 'POST' ? created() : reply(204);
  });
  const viewer = new Viewer(WHEP);
  const started = viewer.start();
  await settle();
  assert.equal(viewer.state, 'waiting');
  online = true;
  page.dispatchEvent(new Event('online'));
  await settle();
  await started;
  assert.equal(viewer.pc, FakePeer.all.at(-1));
  await viewer.stop();
});

test('a counter-offer is answered by PATCH with SDP', async () => {
  // draft-ietf-wish-whep §4.3.2.
  serve((request) =>
    request.method === 'POST'
      ? reply(406, { 'Content-Type': 'application/sdp; valid-until="Thu, 01 Jan 2099 00:00:00 GMT"', Location: '/session/cam/2' }, OFFER)
      : reply(204));
  const viewer = new Viewer(WHEP);
  await viewer.start();
  const [patch] = of('PATCH');
  assert.equal(patch.url, 'https://sfu.example/session/cam/2');
  assert.equal(patch.headers['Content-Type'], 'application/sdp');
  assert.equal(patch.headers['If-Match'], undefined);
  assert.match(patch.body, /^v=0/);
  assert.deepEqual(FakePeer.all[0].log, ['close']);
  assert.deepEqual(FakePeer.all[1].log, ['remote offer', 'local answer']);
  await viewer.stop();
  assert.equal(of('DELETE').length, 1);
});

test('a 406 without SDP is a plain refusal', async () => {
  serve(() => reply(406, { 'Content-Type': 'text/plain' }, 'no'));
  await assert.rejects(new Viewer(WHEP).start(), { status: 406 });
});

test('stop deletes once, also while the POST is still under way', async () => {
  let finish;
  serve((request) => (request.method === 'POST' ? new Promise((resolve) => { finish = resolve; }) : reply(204)));
  const viewer = new Viewer(WHEP);
  const started = viewer.start();
  await settle();
  await viewer.stop();
  await viewer.stop();
  assert.equal(of('DELETE').length, 0);
  finish(created());
  await started;
  await settle();
  assert.equal(of('DELETE').length, 1);
  assert.equal(viewer.state, 'ended');
});

test('a page that goes away deletes its session by a keep-alive request', async () => {
  serve((request) => (request.method === 'POST' ? created() : reply(204)));
  const viewer = new Viewer(WHEP);
  await viewer.start();
  page.dispatchEvent(new Event('pagehide'));
  await settle();
  const [end] = of('DELETE');
  assert.equal(end.keepalive, true);
  page.dispatchEvent(new Event('pagehide'));
  await settle();
  assert.equal(of('DELETE').length, 1);
});

test('a server that closes: the publisher ends, the viewer comes back', async () => {
  for (const [session, posts, state] of [
    [new Publisher(WHIP, stream()), 1, 'ended'],
    [new Viewer(WHEP), 2, 'connected'],
  ]) {
    FakePeer.all = [];
    serve((request) => (request.method === 'POST' ? created() : reply(204)));
    await session.start();
    const [pc] = FakePeer.all;
    pc.become('connected');
    pc.transport.state = 'closed';
    pc.transport.dispatchEvent(new Event('statechange'));
    for (let count = 0; count < 12; count += 1) {
      await settle();
      await advance(150);
    }
    FakePeer.all.at(-1).become('connected');
    assert.equal(of('POST').length, posts);
    assert.equal(session.state, state);
    await session.stop();
  }
});

test('a publisher whose server has gone quiet asks for its session, and makes another if there is none', async () => {
  for (const gone of [404, 502]) {
    let answer = 204;
    serve((request) => (request.method === 'POST' ? created() : reply(request.method === 'GET' ? answer : 200)));
    const publisher = new Publisher(WHIP, stream());
    await publisher.start();
    const [pc] = FakePeer.all.slice(-1);
    pc.bytes = 0;
    pc.become('connected');
    const pass = async (ms, bytes) => {
      for (let at = 0; at < ms; at += 100) {
        pc.bytes += bytes;
        await advance(100);
      }
    };
    await pass(5000, 40);
    assert.equal(of('GET').length, 0, 'reports come');
    await pass(1600, 0);
    assert.equal(of('GET').length, 1, 'nothing comes');
    assert.equal(of('GET')[0].url, 'https://sfu.example/session/cam/1');
    await pass(1000, 0);
    assert.equal(of('GET').length, 1, 'it still lives: twice as long is waited');
    await pass(1000, 0);
    assert.equal(of('GET').length, 2);
    await pass(1000, 40);
    answer = gone;
    await pass(1600, 0);
    assert.equal(of('GET').length, 3, 'something came: asked as soon as at first');
    assert.equal(of('POST').length, 2, 'a new session at once');
    assert.equal(of('PATCH').length, 0);
    await publisher.stop();
  }
});

test('neither a viewer nor a publisher whose browser tells nothing asks for its session', async () => {
  for (const [Kind, bytes] of [[Viewer, 0], [Publisher, null]]) {
    serve((request) => (request.method === 'POST' ? created() : reply(404)));
    const session = Kind === Viewer ? new Viewer(WHEP) : new Publisher(WHIP, stream());
    await session.start();
    const [pc] = FakePeer.all.slice(-1);
    pc.bytes = bytes;
    pc.become('connected');
    await advance(10_000);
    assert.equal(of('GET').length, 0);
    await session.stop();
  }
});

test('a publisher comes back to a server that was restarted', async () => {
  let stopped = false;
  serve((request) => {
    if (stopped) throw new TypeError('connection refused');
    return request.method === 'POST' ? created() : reply(204);
  });
  const publisher = new Publisher(WHIP, stream());
  await publisher.start();
  const [pc] = FakePeer.all;
  pc.become('connected');
  stopped = true;
  pc.transport.state = 'closed';
  pc.transport.dispatchEvent(new Event('statechange'));
  await settle();
  await advance(200);
  assert.equal(publisher.state, 'waiting');
  stopped = false;
  await advance(1500);
  FakePeer.all.at(-1).become('connected');
  assert.equal(publisher.state, 'connected');
  await publisher.stop();
});

test('server-sent events ask for what is offered, and reconnect makes a new session', async () => {
  const rel = 'urn:ietf:params:whep:ext:core:server-sent-events';
  let events;
  serve((request) => {
    if (request.url.endsWith('/sse')) return reply(201, { Location: '/session/cam/1/sse/9' });
    if (request.url.endsWith('/sse/9')) {
      const body = new ReadableStream({ start: (controller) => { events = controller; } });
      return reply(200, { 'Content-Type': 'text/event-stream' }, body);
    }
    return request.method === 'POST'
      ? created({ Link: `</session/cam/1/sse>; rel="${rel}"; events="active,inactive,reconnect,new-thing"` })
      : reply(204);
  });
  const viewer = new Viewer(WHEP);
  const seen = [];
  viewer.addEventListener('server', ({ detail }) => seen.push(detail.type));
  await viewer.start();
  await settle();
  const subscription = requests.find(({ url }) => url.endsWith('/sse'));
  assert.deepEqual(JSON.parse(subscription.body), ['active', 'inactive', 'reconnect']);
  await turns();
  const send = (text) => events.enqueue(new TextEncoder().encode(text));
  send('event: active\nfuture: x\ndata: {}\n\nevent: unasked\ndata: {}\n\n');
  await turns();
  assert.deepEqual(seen, ['active']);
  send('event: reconnect\ndata: {}\n\n');
  await turns();
  assert.equal(requests.filter(({ url, method }) => url === WHEP && method === 'POST').length, 2);
  await viewer.stop();
});

test('reconnect may name another endpoint, which never sees the token', async () => {
  const rel = 'urn:ietf:params:whep:ext:core:server-sent-events';
  let events;
  serve((request) => {
    if (request.url.endsWith('/sse')) return reply(201, { Location: '/session/cam/1/sse/9' });
    if (request.url.endsWith('/sse/9')) {
      const body = new ReadableStream({ start: (controller) => { events = controller; } });
      return reply(200, { 'Content-Type': 'text/event-stream' }, body);
    }
    if (request.url.startsWith('https://other.example/')) return reply(201, { Location: '/s/2' }, ANSWER);
    return request.method === 'POST'
      ? created({ Link: `</session/cam/1/sse>; rel="${rel}"; events="reconnect"` })
      : reply(204);
  });
  const viewer = new Viewer(WHEP, { token: 'hush' });
  await viewer.start();
  await turns();
  const data = JSON.stringify({ url: 'https://other.example/whep/cam', future: [1] });
  events.enqueue(new TextEncoder().encode(`event: reconnect\nid: 7\ndata: ${data}\n\n`));
  await turns();
  const [, next] = FakePeer.all;
  next.packets = 1;
  next.become('connected');
  await turns();
  await advance(100);
  await turns();
  const moved = requests.filter(({ url }) => url.startsWith('https://other.example/'));
  assert.equal(moved[0].method, 'POST');
  assert.equal(moved[0].headers.Authorization, undefined);
  const gone = requests.find(({ url, method }) => method === 'DELETE' && url.endsWith('/session/cam/1'));
  assert.equal(gone.headers.Authorization, 'Bearer hush');
  await viewer.stop();
});

/** A viewer with one session that plays, and what asks it to reconnect. */
async function watching(answerElsewhere) {
  const rel = 'urn:ietf:params:whep:ext:core:server-sent-events';
  let events;
  serve((request) => {
    if (request.url.endsWith('/sse')) return reply(201, { Location: '/session/cam/1/sse/9' });
    if (request.url.endsWith('/sse/9')) {
      const body = new ReadableStream({ start: (controller) => { events = controller; } });
      return reply(200, { 'Content-Type': 'text/event-stream' }, body);
    }
    if (request.url.startsWith('https://b.example/')) return answerElsewhere(request);
    return request.method === 'POST'
      ? created({ Link: `</session/cam/1/sse>; rel="${rel}"; events="reconnect"` })
      : reply(204);
  });
  const viewer = new Viewer(WHEP);
  const seen = { states: [], shown: [] };
  viewer.addEventListener('state', ({ detail }) => seen.states.push(detail.state));
  viewer.addEventListener('media', ({ detail }) => seen.shown.push(detail.stream.getTracks()));
  await viewer.start();
  await turns();
  const [former] = FakePeer.all;
  former.give('old');
  former.become('connected');
  former.packets = 10;
  const asksToMove = async () => {
    const data = JSON.stringify({ url: 'https://b.example/whep/cam' });
    events.enqueue(new TextEncoder().encode(`event: reconnect\ndata: ${data}\n\n`));
    await turns();
  };
  /** Time passes in which the former session goes on. */
  const goOn = async (ms) => {
    for (let passed = 0; passed < ms; passed += 40) {
      former.packets += 1;
      await advance(40);
      await turns();
    }
  };
  const deleted = () => of('DELETE').map(({ url }) => url);
  return { viewer, seen, former, asksToMove, goOn, deleted };
}
const elsewhere = (request) => (request.method === 'POST' ? reply(201, { Location: '/s/2', ETag: '"b"' }, ANSWER) : reply(204));

test('a viewer that is asked to move lets go of its session when the new one plays', async () => {
  const { viewer, seen, former, asksToMove, goOn, deleted } = await watching(elsewhere);
  const { stream } = viewer;
  await asksToMove();
  const [, next] = FakePeer.all;
  next.give('new');
  next.become('connected');
  // Connected, but without a picture yet: the former one is left on screen, however long that takes.
  await goOn(3000);
  assert.deepEqual(deleted(), []);
  assert.equal(viewer.pc, former);
  assert.deepEqual(seen.shown, [['old']]);
  next.packets = 1;
  await goOn(80);
  assert.equal(viewer.pc, next);
  assert.equal(viewer.stream, stream, 'an element that plays it is not reset');
  assert.deepEqual(seen.shown, [['old'], ['new']]);
  assert.deepEqual(deleted(), ['https://sfu.example/session/cam/1']);
  assert.deepEqual(seen.states, ['connecting', 'connected']);
  await viewer.stop();
  assert.deepEqual(deleted(), ['https://sfu.example/session/cam/1', 'https://b.example/s/2']);
});

test('a picture that stands still is not waited for', async () => {
  const { viewer, asksToMove } = await watching(elsewhere);
  await asksToMove();
  const [, next] = FakePeer.all;
  next.become('connected');
  for (let look = 0; look < 30; look += 1) {
    await advance(40);
    await turns();
  }
  assert.equal(viewer.pc, next);
  await viewer.stop();
});

test('a viewer that cannot move yet tries again, and says nothing while it has a picture', async () => {
  let tries = 0;
  const { viewer, seen, asksToMove, goOn, deleted } = await watching((request) => {
    if (request.method !== 'POST') return reply(204);
    tries += 1;
    return tries < 3 ? reply(503, { 'Retry-After': '1' }) : elsewhere(request);
  });
  const retries = [];
  viewer.addEventListener('retry', ({ detail }) => retries.push(detail));
  await asksToMove();
  await goOn(4000);
  assert.equal(tries, 3);
  assert.deepEqual(retries, []);
  assert.deepEqual(seen.states, ['connecting', 'connected']);
  assert.deepEqual(deleted(), []);
  await viewer.stop();
});

test('a viewer that is refused elsewhere stays, and comes back to where it began', async () => {
  const { viewer, seen, former, asksToMove, goOn } = await watching(() => reply(403));
  await asksToMove();
  await goOn(500);
  assert.equal(viewer.pc, former);
  assert.deepEqual(seen.states, ['connecting', 'connected']);
  former.transport.state = 'closed';
  former.become('disconnected');
  former.become('failed');
  await goOn(3000);
  assert.equal(of('POST').filter(({ url }) => url === WHEP).length, 2);
  await viewer.stop();
});

test('a viewer whose session ends while it moves takes the new one as it is', async () => {
  const { viewer, seen, former, asksToMove, goOn } = await watching(elsewhere);
  await asksToMove();
  const [, next] = FakePeer.all;
  next.give('new');
  former.transport.state = 'closed';
  former.become('failed');
  await turns();
  assert.equal(viewer.pc, next);
  assert.deepEqual(seen.shown, [['old'], ['new']]);
  assert.equal(seen.states.at(-1), 'reconnecting');
  next.become('connected');
  assert.equal(seen.states.at(-1), 'connected');
  await goOn(500);
  assert.equal(of('POST').length, 3, 'two sessions and one event stream');
  await viewer.stop();
});

test('a new session that finds no path is given up, and the picture stays', async () => {
  const { viewer, former, asksToMove, goOn, deleted } = await watching(elsewhere);
  await asksToMove();
  // It never connects: after its time it is deleted, and another one is tried.
  await goOn(14_000);
  assert.equal(viewer.pc, former);
  assert.deepEqual(deleted(), ['https://b.example/s/2']);
  assert.equal(FakePeer.all.length, 3);
  await viewer.stop();
});

test('an event stream that is cut off goes on after the last event', async () => {
  const rel = 'urn:ietf:params:whep:ext:core:server-sent-events';
  serve((request) => {
    if (request.url.endsWith('/sse')) return reply(201, { Location: '/session/cam/1/sse/9' });
    if (request.url.endsWith('/sse/9')) {
      return reply(200, { 'Content-Type': 'text/event-stream' }, 'event: active\nid: 41\ndata: {}\n\n');
    }
    return request.method === 'POST'
      ? created({ Link: `</session/cam/1/sse>; rel="${rel}"; events="active"` })
      : reply(204);
  });
  const viewer = new Viewer(WHEP);
  await viewer.start();
  await turns();
  await advance(10_000);
  await turns();
  const polls = requests.filter(({ url }) => url.endsWith('/sse/9'));
  assert.equal(polls[0].headers['Last-Event-ID'], undefined);
  assert.equal(polls[1].headers['Last-Event-ID'], '41');
  await viewer.stop();
});

test('a WHEP URL is known by the content type of HEAD', async () => {
  const types = { '/whep/cam': 'Application/SDP; x=1', '/live.m3u8': 'application/vnd.apple.mpegurl' };
  serve((request) => {
    const { pathname } = new URL(request.url);
    return types[pathname] ? reply(200, { 'Content-Type': types[pathname] }) : reply(404, { 'Content-Type': 'application/sdp' });
  });
  const options = { token: 'hush', tokenFor: WHEP };
  assert.equal(await isWhepUrl(WHEP, options), true);
  assert.equal(requests[0].method, 'HEAD');
  assert.equal(requests[0].headers.Authorization, 'Bearer hush');
  assert.equal(await isWhepUrl('https://sfu.example/live.m3u8', options), false);
  assert.equal(await isWhepUrl('https://sfu.example/gone', options), false);
  assert.equal(await isWhepUrl('https://other.example/whep/cam', options), true);
  assert.equal(requests[3].headers.Authorization, undefined);
});

test('307 and 308 are followed with the body and without the token, and the session is where they led', async () => {
  // RFC 9725 §4.5; draft-ietf-wish-whep §4.7. Two real servers and the platform's own fetch.
  mock.timers.reset();
  globalThis.fetch = platformFetch;
  const seen = [];
  const listen = (answer) =>
    new Promise((resolve) => {
      const server = createServer((request, response) => {
        let body = '';
        request.on('data', (part) => { body += part; });
        request.on('end', () => {
          seen.push({ method: request.method, url: request.url, body, token: request.headers.authorization, at: server.name });
          answer(request, response);
        });
      });
      server.listen(0, '127.0.0.1', () => resolve(server));
    });
  const target = await listen((request, response) => {
    if (request.method !== 'POST') return response.writeHead(204).end();
    response.writeHead(201, { 'Content-Type': 'application/sdp', Location: '/session/cam/1', ETag: '"t"' }).end(ANSWER);
  });
  target.name = 'target';
  const base = `http://127.0.0.1:${target.address().port}`;
  for (const status of [307, 308]) {
    const first = await listen((_, response) => response.writeHead(status, { Location: `${base}/whep/other` }).end());
    first.name = 'first';
    seen.length = 0;
    const viewer = new Viewer(`http://127.0.0.1:${first.address().port}/whep/cam`, { token: 'hush' });
    await viewer.start();
    assert.equal(viewer.sessionUrl, `${base}/session/cam/1`);
    await viewer.stop();
    const [asked, led, ended] = seen;
    assert.deepEqual([asked.at, led.at, ended.at], ['first', 'target', 'target']);
    assert.deepEqual([asked.method, led.method, ended.method], ['POST', 'POST', 'DELETE']);
    assert.equal(led.url, '/whep/other');
    assert.equal(led.body, asked.body);
    assert.match(led.body, /^v=0/);
    assert.deepEqual([asked.token, led.token, ended.token], ['Bearer hush', undefined, undefined]);
    first.closeAllConnections();
    first.close();
  }
  target.closeAllConnections();
  target.close();
});

// Streams hop through the event loop, which the fake clock leaves alone.
async function turns() {
  for (let count = 0; count < 20; count += 1) await new Promise((resolve) => setImmediate(resolve));
}
