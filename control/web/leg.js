// The peer connection and the HTTP session of a publisher or viewer: offer, answer, trickle, restart, end.

import { readEvents } from './sse.js';
import {
  RequestFailed,
  applyRestart,
  buildFragment,
  candidateMid,
  credentialsOf,
  hasAcceptedMedia,
  iceServersFromLinks,
  isSdpType,
  parseFragment,
  parseLinkHeader,
  parseRetryAfter,
  parseValidUntil,
  resolveLocation,
  retryDelayMs,
  sleep,
  withMuxOnly,
} from './wire.js';

const SDP = 'application/sdp';
const FRAGMENT = 'application/trickle-ice-sdpfrag';
const EVENTS_REL = 'urn:ietf:params:whep:ext:core:server-sent-events';

// Host candidates arrive within a few milliseconds; waiting a little puts them all into one PATCH.
const AGGREGATE_MS = 150;
// A short radio gap heals by itself; only a longer one is worth a restart.
const DISCONNECTED_MS = 2000;
// A restart or a first connection that has not succeeded by then is replaced by a new session.
const CONNECT_TIMEOUT_MS = 12000;

// Whoever is sent media reports on it, once a second at least (RFC 3550 §6.2). A browser takes some seconds to notice
// that nothing comes any more: one that has died is found out sooner by asking for the session, and each time that it
// still lives it is given twice as long.
const LISTEN_MS = 200;
const QUIET_MS = 1000;
const QUIET_MS_MAX = 10000;
// A session that is not there any more, or whose node does not answer who stands in front of it.
const GONE = [404, 410, 502];

/**
 * One peer connection and the HTTP session that belongs to it.
 *
 * `owner` is the Publisher or Viewer: it fills the peer connection (`_prepare`) and hears how it goes
 * (`_connected`, `_pathLost`, `_lost`, `_serverEvent`).
 */
export class Leg {
  #owner;
  #endpoint;
  #token;
  #aborted = new AbortController();
  #etag = null;
  #answerSdp = null;
  #generation = 0;
  #candidates = [];
  #gathered = false;
  #timers = new Set();
  #flushTimer = null;
  #disconnectTimer = null;
  #connectTimer = null;
  #listening = 0;
  #patches = Promise.resolve();
  #trickles = true;
  #restarting = false;
  #abandoned = false;
  #watched = new WeakSet();

  constructor(owner, endpoint, token) {
    this.#owner = owner;
    this.#endpoint = endpoint;
    this.#token = token;
    this.pc = null;
    this.url = null;
  }

  async open() {
    this.#makePeer();
    this.#owner._prepare(this.pc);
    const offer = await this.pc.createOffer();
    // The local description is set only after the answer is here: gathering then starts with the ICE servers
    // which the server names (RFC 9725 §4.6), and no candidate is found before it can be sent.
    const response = await this.#request(this.#endpoint, {
      method: 'POST',
      headers: { 'Content-Type': SDP, Accept: SDP },
      body: withMuxOnly(offer.sdp),
    });
    if (response.status === 406 && isSdp(response)) {
      await this.#acceptCounterOffer(response);
    } else {
      if (!response.ok) throw await failure(response);
      await this.#acceptAnswer(response, offer);
    }
    this.#armConnectTimer();
  }

  /** Marks a leg whose POST is still under way: when the answer comes it is deleted at once. */
  abandon() {
    this.#abandoned = true;
  }

  async #acceptAnswer(response, offer) {
    this.#adopt(response);
    const sdp = await response.text();
    if (this.#abandoned) return;
    if (!sdp.startsWith('v=0')) throw new RequestFailed(response.status, 'the server sent no SDP answer');
    this.#useIceServers(response);
    await this.#setLocal(offer);
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
    this.#answerSdp = sdp;
    await this.#owner._answered(this.pc);
    this.#followEvents(response);
  }

  // draft-ietf-wish-whep §4.3.2: the server could not use the offer and makes its own.
  async #acceptCounterOffer(response) {
    this.#adopt(response);
    const sdp = await response.text();
    if (this.#abandoned) return;
    if (!this.url) throw new RequestFailed(406, 'a counter-offer came without a session URL');
    const validUntil = parseValidUntil(response.headers.get('Content-Type'), Date.now());
    this.pc.close();
    this.#makePeer();
    this.#trickles = false;
    this.#owner._receive?.(this.pc);
    this.#useIceServers(response);
    await this.pc.setRemoteDescription({ type: 'offer', sdp });
    const answer = await this.pc.createAnswer();
    if (!hasAcceptedMedia(answer.sdp)) {
      throw new RequestFailed(406, 'this browser plays none of the stream’s codecs');
    }
    await this.pc.setLocalDescription(answer);
    await this.#gather(Math.min(1000, Math.max(0, validUntil - Date.now())));
    const accepted = await this.#request(this.url, {
      method: 'PATCH',
      headers: { 'Content-Type': SDP },
      body: withMuxOnly(this.pc.localDescription.sdp),
    });
    if (!accepted.ok) throw await failure(accepted);
    this.#etag = accepted.headers.get('ETag') ?? this.#etag;
    this.#followEvents(response);
  }

  #adopt(response) {
    const location = response.headers.get('Location');
    if (location) this.url = resolveLocation(location, response.url || this.#endpoint.href);
    this.#etag = response.headers.get('ETag');
  }

  #makePeer() {
    const pc = new RTCPeerConnection({
      bundlePolicy: 'max-bundle',
      rtcpMuxPolicy: 'require',
      iceServers: this.#owner.iceServers ?? [],
    });
    this.pc = pc;
    this.#owner.dispatchEvent(new CustomEvent('connection', { detail: { pc } }));
    pc.addEventListener('icecandidate', ({ candidate }) => this.#onCandidate(pc, candidate));
    pc.addEventListener('connectionstatechange', () => this.#onConnectionState(pc));
  }

  async #setLocal(offer) {
    const wanted = this.#owner._localSdp(offer.sdp);
    if (wanted !== offer.sdp) {
      try {
        await this.pc.setLocalDescription({ type: 'offer', sdp: wanted });
        return;
      } catch {
        // A browser that accepts no edits keeps its own text.
      }
    }
    await this.pc.setLocalDescription(offer);
  }

  #useIceServers(response) {
    if (this.#owner.iceServers) return;
    const iceServers = iceServersFromLinks(response.headers.get('Link'));
    if (iceServers.length === 0) return;
    try {
      this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers });
    } catch {
      // A server entry this browser does not understand must not cost the connection.
    }
  }

  #gather(timeoutMs) {
    if (this.pc.iceGatheringState === 'complete') return Promise.resolve();
    return new Promise((resolve) => {
      const pc = this.pc;
      pc.addEventListener('icegatheringstatechange', () => {
        if (pc.iceGatheringState === 'complete') resolve();
      });
      this.#later(resolve, timeoutMs);
    });
  }

  #onCandidate(pc, candidate) {
    if (pc !== this.pc || !this.#trickles) return;
    if (candidate && candidate.candidate) this.#candidates.push(candidate);
    else this.#gathered = true;
    this.#scheduleFlush(this.#gathered ? 0 : AGGREGATE_MS);
  }

  #scheduleFlush(delayMs) {
    // RFC 9725 §4.3.2: candidates wait for the session URL and, in a restart, for the new entity tag.
    if (!this.url || this.#restarting) return;
    if (this.#flushTimer && delayMs > 0) return;
    this.#cancel(this.#flushTimer);
    this.#flushTimer = this.#later(() => {
      this.#flushTimer = null;
      this.#flush();
    }, delayMs);
  }

  #flush() {
    const candidates = this.#candidates.splice(0);
    const endOfCandidates = this.#gathered;
    this.#gathered = false;
    if (!this.#trickles || (candidates.length === 0 && !endOfCandidates)) return;
    const generation = this.#generation;
    const sdp = this.pc.localDescription?.sdp;
    if (!sdp) return;
    const ufrag = credentialsOf(sdp).ufrag;
    const current = candidates.filter(
      (each) =>
        (!each.usernameFragment || each.usernameFragment === ufrag) &&
        candidateMid(each, sdp) !== null,
    );
    const body = buildFragment({ sdp, candidates: current, endOfCandidates });
    this.#enqueue(async () => {
      if (generation !== this.#generation) return;
      const response = await this.#patch(body, this.#etag);
      if (generation !== this.#generation) return;
      if (response.ok) {
        this.#etag = response.headers.get('ETag') ?? this.#etag;
      } else if (response.status === 404 || response.status === 410) {
        this.#owner._lost(this, 'the session is gone');
      } else if (response.status === 412 || response.status === 428) {
        // The tag we hold is not the server's any more: only a restart brings both sides together.
        if (this.pc.connectionState !== 'connected') this.#owner._pathLost(this);
      } else {
        // No trickle here (RFC 9725 §4.3.1 lets a server refuse); checks from our side still work.
        this.#trickles = false;
      }
    });
  }

  /** ICE restart (RFC 9725 §4.3.3). Rejects when the session cannot be saved. */
  async restart() {
    if (!this.url || !this.#answerSdp) throw new Error('this connection cannot be restarted');
    const generation = ++this.#generation;
    this.#restarting = true;
    this.#candidates = [];
    this.#gathered = false;
    this.#armConnectTimer();
    await this.#enqueue(async () => {
      if (generation !== this.#generation) return;
      if (this.pc.signalingState === 'have-local-offer') {
        await this.pc.setLocalDescription({ type: 'rollback' });
      }
      await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart: true }));
      const sdp = this.pc.localDescription.sdp;
      const response = await this.#patch(buildFragment({ sdp, candidates: [] }), '*');
      // A newer restart is under way: this answer belongs to credentials nobody uses.
      if (generation !== this.#generation) return;
      if (!response.ok || response.status !== 200) {
        throw await failure(response);
      }
      const fragment = parseFragment(await response.text());
      if (generation !== this.#generation) return;
      const answer = applyRestart(this.#answerSdp, fragment);
      this.#etag = response.headers.get('ETag') ?? this.#etag;
      await this.pc.setRemoteDescription({ type: 'answer', sdp: answer });
      this.#answerSdp = answer;
      this.#restarting = false;
      if (this.pc.connectionState === 'connected') this.#owner._connected(this);
      if (this.#candidates.length > 0 || this.#gathered) {
        this.#scheduleFlush(this.#gathered ? 0 : AGGREGATE_MS);
      }
    });
  }

  #enqueue(work) {
    const result = this.#patches.then(work);
    this.#patches = result.catch(() => {});
    return result;
  }

  async #patch(body, etag) {
    const headers = { 'Content-Type': FRAGMENT };
    if (etag) headers['If-Match'] = etag;
    for (let attempt = 0; ; attempt += 1) {
      const response = await this.#request(this.url, { method: 'PATCH', headers, body });
      if (![429, 503].includes(response.status) || attempt >= 3) return response;
      const retryAfterMs = parseRetryAfter(response.headers.get('Retry-After'), Date.now());
      await sleep(retryDelayMs({ attempt, retryAfterMs }), this.#aborted.signal);
      if (this.#aborted.signal.aborted) throw new Error('the session has ended');
    }
  }

  #onConnectionState(pc) {
    if (pc !== this.pc) return;
    this.#cancel(this.#disconnectTimer);
    switch (pc.connectionState) {
      case 'connected':
        this.#cancel(this.#connectTimer);
        this.#watchTransport(pc);
        this.#owner._connected(this);
        if (this.#owner._isReportedTo) this.#listen(pc);
        break;
      case 'disconnected':
        this.#disconnectTimer = this.#later(() => {
          if (!this.#closedByServer(pc)) this.#owner._pathLost(this);
        }, DISCONNECTED_MS);
        break;
      case 'failed':
        if (!this.#closedByServer(pc)) this.#owner._pathLost(this);
        break;
      case 'closed':
        this.#owner._lost(this, 'the server ended this session', { byServer: true });
        break;
    }
  }

  // Whether anything comes, and if not, whether there is still somebody.
  async #listen(pc) {
    this.#listening += 1;
    const turn = this.#listening;
    const goesOn = () =>
      turn === this.#listening && pc === this.pc && pc.connectionState === 'connected' && !this.#aborted.signal.aborted;
    let [heard, since, patienceMs] = [-1, 0, QUIET_MS];
    while (goesOn()) {
      const bytes = await bytesReceived(pc);
      if (bytes === null) return;
      if (bytes !== heard) {
        [heard, since, patienceMs] = [bytes, Date.now(), QUIET_MS];
      } else if (Date.now() - since >= patienceMs) {
        const isGone = await this.#isGone();
        if (!goesOn()) return;
        if (isGone) {
          this.#owner._lost(this, 'the server has lost this session');
          return;
        }
        [since, patienceMs] = [Date.now(), Math.min(patienceMs * 2, QUIET_MS_MAX)];
      }
      await sleep(LISTEN_MS, this.#aborted.signal);
    }
  }

  async #isGone() {
    const response = await this.#request(this.url, { signal: this.#aborted.signal }).catch(() => null);
    return response !== null && GONE.includes(response.status);
  }

  #watchTransport(pc) {
    const transport = dtlsOf(pc);
    if (!transport || this.#watched.has(transport)) return;
    this.#watched.add(transport);
    transport.addEventListener('statechange', () => this.#closedByServer(pc));
  }

  // A DTLS close_notify is the server's last word (RFC 9725 §4.2): no restart can bring this session back.
  #closedByServer(pc) {
    if (pc !== this.pc || dtlsOf(pc)?.state !== 'closed') return false;
    this.#owner._lost(this, 'the server ended this session', { byServer: true });
    return true;
  }

  #armConnectTimer() {
    this.#cancel(this.#connectTimer);
    this.#connectTimer = this.#later(() => {
      if (this.pc.connectionState !== 'connected') {
        this.#owner._lost(this, 'no path to the server', { delayMs: 500 });
      }
    }, CONNECT_TIMEOUT_MS);
  }

  // The server-sent events extension of WHEP; nothing here depends on it.
  #followEvents(response) {
    if (!this.#owner._serverEvent) return;
    const link = parseLinkHeader(response.headers.get('Link')).find((each) => each.rel === EVENTS_REL);
    if (!link) return;
    const offered = (link.params.events ?? '').split(',').map((each) => each.trim());
    const wanted = ['active', 'inactive', 'reconnect', 'viewercount'].filter((each) => offered.includes(each));
    if (wanted.length === 0) return;
    const base = response.url || this.#endpoint.href;
    this.#subscribe(resolveLocation(link.uri, base), wanted).catch(() => {});
  }

  async #subscribe(url, wanted) {
    const response = await this.#request(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(wanted),
    });
    const location = response.headers.get('Location');
    if (!response.ok || !location) return;
    const eventsUrl = resolveLocation(location, response.url || url.href);
    let lastId = '';
    for (let attempt = 0; !this.#aborted.signal.aborted; attempt += 1) {
      try {
        const resume = lastId ? { 'Last-Event-ID': lastId } : {};
        const stream = await this.#request(eventsUrl, {
          headers: { Accept: 'text/event-stream', ...resume },
          signal: this.#aborted.signal,
        });
        if ([429, 503].includes(stream.status)) {
          const retryAfterMs = parseRetryAfter(stream.headers.get('Retry-After'), Date.now());
          await sleep(retryDelayMs({ attempt, retryAfterMs }), this.#aborted.signal);
          continue;
        }
        if (!stream.ok || !stream.body) return;
        for await (const { type, data, id } of readEvents(stream.body)) {
          attempt = 0;
          lastId = id || lastId;
          if (this.#aborted.signal.aborted) return;
          if (wanted.includes(type)) this.#owner._serverEvent(this, type, jsonOr(data, null));
        }
      } catch {
        // Events are an extra; the picture does not depend on them.
      }
      await sleep(retryDelayMs({ attempt }), this.#aborted.signal);
    }
  }

  /** How much can be shown so far: decoded frames, or packets where there is no picture. */
  async received() {
    const report = await this.pc.getStats().catch(() => new Map());
    const flows = [...report.values()].filter(({ type }) => type === 'inbound-rtp');
    const hasVideo = this.pc.getTransceivers?.().some(
      ({ currentDirection, receiver }) => currentDirection === 'recvonly' && receiver.track?.kind === 'video',
    );
    const pictures = flows.filter(({ kind }) => kind === 'video');
    if (hasVideo) return pictures.reduce((sum, { framesDecoded }) => sum + (framesDecoded ?? 0), 0);
    return flows.reduce((sum, { packetsReceived }) => sum + (packetsReceived ?? 0), 0);
  }

  /** Closes the peer connection and deletes the session on the server. */
  async end({ keepalive = false } = {}) {
    if (this.#aborted.signal.aborted) return;
    this.#aborted.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.pc?.close();
    if (!this.url) return;
    await this.#request(this.url, { method: 'DELETE', keepalive }).catch(() => {});
  }

  async #request(url, init) {
    const headers = { ...init.headers };
    // RFC 9725 §4.7.1 asks for the token on every request; another origin never sees it.
    if (this.#token && new URL(url).origin === this.#endpoint.origin) {
      headers.Authorization = `Bearer ${this.#token}`;
    }
    try {
      return await fetch(url, { cache: 'no-store', ...init, headers });
    } catch (error) {
      throw new RequestFailed(0, `no connection to ${new URL(url).host}`, { cause: error });
    }
  }

  #later(work, delayMs) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, delayMs);
    this.#timers.add(timer);
    return timer;
  }

  #cancel(timer) {
    clearTimeout(timer);
    this.#timers.delete(timer);
  }
}

function dtlsOf(pc) {
  for (const each of [...pc.getSenders(), ...pc.getReceivers()]) {
    if (each.transport) return each.transport;
  }
  return null;
}

/** What has come over the network so far; null where the browser does not tell. */
async function bytesReceived(pc) {
  const report = await pc.getStats().catch(() => new Map());
  const pairs = [...report.values()].filter(({ type }) => type === 'candidate-pair');
  if (pairs.length === 0) return null;
  return pairs.reduce((sum, { bytesReceived }) => sum + (bytesReceived ?? 0), 0);
}

function isSdp(response) {
  return isSdpType(response.headers.get('Content-Type'));
}

async function failure(response) {
  const type = (response.headers.get('Content-Type') ?? '').toLowerCase();
  const text = await response.text().catch(() => '');
  const problem = type.includes('json') ? jsonOr(text, {}) : {};
  const said = problem?.detail || problem?.title || (type.startsWith('text/plain') ? text.slice(0, 200) : '');
  const message = said ? `${said} (${response.status})` : `the server answered ${response.status}`;
  return new RequestFailed(response.status, message, {
    retryAfterMs: parseRetryAfter(response.headers.get('Retry-After'), Date.now()),
  });
}

function jsonOr(text, otherwise) {
  try {
    return JSON.parse(text);
  } catch {
    return otherwise;
  }
}
