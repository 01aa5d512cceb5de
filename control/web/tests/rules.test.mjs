// Rules of WHIP and WHEP for clients that no other test is about.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { Publisher, Viewer } from '../whip-whep.js';
import { ANSWER, FakePeer, OFFER, fakeFetch, reply, settle } from './fakes.mjs';

const WHIP = 'https://sfu.example/whip/cam';
const WHEP = 'https://sfu.example/whep/cam';
const created = (headers = {}) =>
  reply(201, { 'Content-Type': 'application/sdp', Location: '/session/cam/1', ETag: '"t1"', ...headers }, ANSWER);
const page = new EventTarget();
const camera = () => ({ getTracks: () => [{ kind: 'audio' }, { kind: 'video' }] });

let requests;
function serve(answer) {
  const fake = fakeFetch(answer);
  globalThis.fetch = fake.fetch;
  requests = fake.requests;
}

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  FakePeer.all = [];
  globalThis.RTCPeerConnection = FakePeer;
  globalThis.MediaStream = class { addTrack() {} };
  globalThis.RTCRtpSender = { getCapabilities: () => ({ codecs: [] }) };
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
});

afterEach(() => mock.timers.reset());

test('the browser’s offer goes out with its DTLS roles and all of its codecs', async () => {
  // RFC 9725 §4.4.4: actpass. draft-ietf-wish-whep §4.3.6: every codec that can be decoded.
  for (const session of [new Publisher(WHIP, camera()), new Viewer(WHEP)]) {
    serve(() => created());
    await session.start();
    const sent = requests[0].body.split('\r\n');
    assert.equal(sent.filter((line) => line === 'a=setup:actpass').length, 2);
    const lost = OFFER.split('\r\n').filter((line) => !line.startsWith('a=fmtp:111') && !sent.includes(line));
    assert.deepEqual(lost, []);
    await session.stop();
  }
});

test('a viewer offers to receive, and answers a counter-offer with nothing of its own', async () => {
  // draft-ietf-wish-whep §4.3.5: recvonly, in offers and in answers.
  serve((request) =>
    request.method === 'POST'
      ? reply(406, { 'Content-Type': 'application/sdp', Location: '/session/cam/2' }, OFFER)
      : reply(204));
  const viewer = new Viewer(WHEP);
  await viewer.start();
  const [offering, answering] = FakePeer.all;
  assert.deepEqual(offering.transceivers.map(({ init }) => init.direction), ['recvonly', 'recvonly']);
  // What the browser makes of a sendonly section without a transceiver of ours is recvonly (RFC 9429 §5.10).
  assert.deepEqual(answering.transceivers, []);
  await viewer.stop();
});

test('relations and parameters of links that nobody knows change nothing', async () => {
  // RFC 9725 §4.9, draft-ietf-wish-whep §4.10.
  const link = '</x>; rel="urn:ietf:params:whip:ext:example:new"; y="1", </z>; rel="urn:ietf:params:whep:ext:core:new"';
  for (const session of [new Publisher(WHIP, camera()), new Viewer(WHEP)]) {
    serve((request) => (request.method === 'POST' ? created({ Link: `${link}, <stun:s.example>; rel="ice-server"; new="1"` }) : reply(204)));
    await session.start();
    await settle();
    assert.deepEqual(requests.map(({ method }) => method), ['POST']);
    assert.deepEqual(FakePeer.all.at(-1).configuration.iceServers, [{ urls: 'stun:s.example' }]);
    await session.stop();
  }
});
