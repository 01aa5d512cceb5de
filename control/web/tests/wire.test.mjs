import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  RequestFailed,
  applyRestart,
  buildFragment,
  candidateMid,
  hasAcceptedMedia,
  iceServersFromLinks,
  isRetryable,
  orderCodecs,
  parseFragment,
  parseLinkHeader,
  parseRetryAfter,
  parseValidUntil,
  resolveLocation,
  retryDelayMs,
  withMuxOnly,
  withStereoOpus,
} from '../wire.js';
import { ANSWER, OFFER } from './fakes.mjs';

test('a fragment holds group, section, credentials, candidates and the end, each on a line of its own', () => {
  // RFC 8840 §9 and the examples of RFC 9725 §4.3.
  const body = buildFragment({
    sdp: OFFER,
    candidates: [{ candidate: 'candidate:1 1 udp 2130706431 192.0.2.1 61764 typ host' }],
    endOfCandidates: true,
  });
  assert.equal(
    body,
    [
      'a=group:BUNDLE 0 1',
      'a=ice-options:trickle',
      'm=audio 9 UDP/TLS/RTP/SAVPF 111',
      'a=mid:0',
      'a=ice-ufrag:EsAw',
      'a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1',
      'a=candidate:1 1 udp 2130706431 192.0.2.1 61764 typ host',
      'a=end-of-candidates',
      '',
    ].join('\r\n'),
  );
});

test('a fragment uses the section which the bundle group names first', () => {
  const sdp = OFFER.replace('BUNDLE 0 1', 'BUNDLE 1 0');
  const body = buildFragment({ sdp, candidates: [] });
  assert.match(body, /m=video 9 UDP\/TLS\/RTP\/SAVPF 96 97\r\na=mid:1\r\n/);
  assert.equal(candidateMid({ sdpMid: '1' }, sdp), '1');
  assert.equal(candidateMid({ sdpMid: '0' }, sdp), null);
});

test('a candidate with a line break never becomes two lines', () => {
  const body = buildFragment({ sdp: OFFER, candidates: [{ candidate: 'candidate:1\r\na=ice-pwd:x' }] });
  assert.equal(body.match(/a=ice-pwd/g).length, 1);
});

test('a restart answer replaces credentials and candidates and nothing else', () => {
  const fragment = parseFragment(
    'a=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:NEWu\r\n' +
      'a=ice-pwd:0123456789abcdefghijkl\r\na=candidate:9 1 udp 1 198.51.100.9 7777 typ host\r\na=end-of-candidates\r\n',
  );
  const sdp = applyRestart(ANSWER, fragment);
  assert.equal(sdp.match(/a=ice-ufrag:NEWu/g).length, 2);
  assert.equal(sdp.match(/a=ice-pwd:0123456789abcdefghijkl/g).length, 2);
  assert.equal(sdp.match(/198\.51\.100\.9/g).length, 2);
  assert.doesNotMatch(sdp, /old1|192\.0\.2\.7/);
  const rest = (text) => text.split('\r\n').filter((line) => !/^a=(ice-ufrag|ice-pwd|candidate|end-of)/.test(line));
  assert.deepEqual(rest(sdp), rest(ANSWER));
});

test('a restart answer without usable credentials is refused', () => {
  for (const body of ['', 'a=ice-ufrag:abc\r\na=ice-pwd:0123456789abcdefghijkl', 'a=ice-ufrag:abcd\r\na=ice-pwd:short']) {
    assert.throws(() => applyRestart(ANSWER, parseFragment(body)), RequestFailed, body);
  }
});

test('a Link field splits at commas between links only', () => {
  const links = parseLinkHeader(
    '<https://a.example/x,y>; rel="next"; title="one, \\"two\\"; three", <stun:s.example>; rel=ice-server;foo',
  );
  assert.deepEqual(links.map(({ uri, rel }) => [uri, rel]), [
    ['https://a.example/x,y', 'next'],
    ['stun:s.example', 'ice-server'],
  ]);
  assert.equal(links[0].params.title, 'one, "two"; three');
  assert.equal(links[1].params.foo, '');
});

test('a broken Link field yields what stands before the damage', () => {
  assert.deepEqual(parseLinkHeader(null), []);
  assert.deepEqual(parseLinkHeader('nonsense'), []);
  assert.equal(parseLinkHeader('<stun:a>; rel="ice-server", <stun:').length, 1);
  assert.equal(parseLinkHeader(`<a>${'; x'.repeat(5000)}`).length, 1);
});

test('ICE servers come from links, TURN only with its credentials', () => {
  // RFC 9725 §4.6.
  const servers = iceServersFromLinks(
    '<stun:stun.example.net>; rel="ice-server", ' +
      '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="us\\"er"; credential="p,w"; credential-type="password", ' +
      '<turn:no-credentials.example>; rel="ice-server", ' +
      '<turn:oauth.example>; rel="ice-server"; username="u"; credential="c"; credential-type="oauth", ' +
      '<https://evil.example>; rel="ice-server", <stun:other.example>; rel="next"',
  );
  assert.deepEqual(servers, [
    { urls: 'stun:stun.example.net' },
    { urls: 'turn:turn.example.net?transport=udp', username: 'us"er', credential: 'p,w' },
  ]);
});

test('a Location resolves against the URL that answered', () => {
  const at = (location) => resolveLocation(location, 'https://b.example/deep/whip/cam').href;
  assert.equal(at('/session/cam/1'), 'https://b.example/session/cam/1');
  assert.equal(at('1'), 'https://b.example/deep/whip/1');
  assert.equal(at('https://c.example/s'), 'https://c.example/s');
  assert.equal(at('//c.example/s'), 'https://c.example/s');
  assert.throws(() => at('javascript:alert(1)'), RequestFailed);
});

test('Retry-After is seconds or a date', () => {
  const now = Date.parse('Sat, 21 Nov 2026 10:00:00 GMT');
  assert.equal(parseRetryAfter('2', now), 2000);
  assert.equal(parseRetryAfter(' 0 ', now), 0);
  assert.equal(parseRetryAfter('Sat, 21 Nov 2026 10:00:05 GMT', now), 5000);
  assert.equal(parseRetryAfter('Sat, 21 Nov 2026 09:00:00 GMT', now), 0);
  for (const bad of [null, '', '-1', 'soon', '1e9', '99999999999']) assert.equal(parseRetryAfter(bad, now), null, bad);
});

test('retries double, are capped, spread, and never come before Retry-After', () => {
  const times = (options) => [0, 1, 2, 3, 10, 1e9].map((attempt) => retryDelayMs({ attempt, ...options }));
  assert.deepEqual(times({ random: () => 0 }), [1000, 2000, 4000, 8000, 30000, 30000]);
  assert.deepEqual(times({ retryAfterMs: 2000, random: () => 0 }), [2000, 4000, 8000, 16000, 30000, 30000]);
  assert.deepEqual(times({ retryAfterMs: 120_000, random: () => 0 }), Array(6).fill(120_000));
  assert.equal(retryDelayMs({ attempt: 0, retryAfterMs: 3000, random: () => 0.999 }), 3999);
  assert.ok(retryDelayMs({ attempt: 0, retryAfterMs: 0, random: () => 0 }) > 0, 'zero must not become a busy loop');
});

test('a status counts as the x00 of its class', () => {
  // RFC 9725 §4.1.
  for (const status of [0, 409, 429, 500, 503, 504, 599]) assert.ok(isRetryable(new RequestFailed(status, '')), status);
  for (const status of [400, 401, 403, 404, 406, 415, 418, 422, 451, 499, 501]) {
    assert.ok(!isRetryable(new RequestFailed(status, '')), status);
  }
  assert.ok(!isRetryable(new TypeError('a defect of ours')));
});

test('valid-until is read from the Content-Type, else 30 s', () => {
  const until = 'Sat, 21 Nov 2026 10:00:05 GMT';
  assert.equal(parseValidUntil(`application/sdp; valid-until="${until}"`, 0), Date.parse(until));
  assert.equal(parseValidUntil('application/sdp', 7), 30_007);
  assert.equal(parseValidUntil('application/sdp; valid-until="never"', 7), 30_007);
});

test('rtcp-mux-only is added once per RTP section', () => {
  const sdp = withMuxOnly(OFFER);
  assert.equal(sdp.match(/a=rtcp-mux-only\r\n/g).length, 2);
  assert.equal(withMuxOnly(sdp), sdp);
});

test('stereo is asked for on Opus only', () => {
  const sdp = withStereoOpus(OFFER);
  assert.match(sdp, /a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n/);
  assert.doesNotMatch(sdp, /a=fmtp:96 .*stereo/);
  assert.equal(withStereoOpus(sdp), sdp);
});

test('the preferred codec moves to the front, H264 in its most compatible form', () => {
  const codecs = [
    { mimeType: 'video/VP8' },
    { mimeType: 'video/rtx' },
    { mimeType: 'video/H264', sdpFmtpLine: 'packetization-mode=0;profile-level-id=42001f' },
    { mimeType: 'video/H264', sdpFmtpLine: 'packetization-mode=1;profile-level-id=640c1f' },
    { mimeType: 'video/H264', sdpFmtpLine: 'packetization-mode=1;profile-level-id=42e01f' },
  ];
  assert.deepEqual(orderCodecs(codecs, 'h264').map((codec) => codecs.indexOf(codec)), [4, 3, 2, 0, 1]);
  assert.deepEqual(orderCodecs(codecs, 'AV1'), codecs);
});

test('an answer that takes nothing is recognised', () => {
  assert.ok(hasAcceptedMedia(ANSWER));
  assert.ok(!hasAcceptedMedia(ANSWER.replace(/^m=(\w+) \d+/gm, 'm=$1 0')));
});
