// A small WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) client for browsers.
//
// `Publisher` sends one MediaStream, `Viewer` receives one. Both keep their session alive: trickle ICE and
// ICE restarts by PATCH, retries with back-off, and a DELETE when they stop or when the page goes away.
// What can be decided without a browser is a plain exported function in `wire.js`.

import { Leg } from './leg.js';
import {
  RequestFailed,
  isRetryable,
  isSdpType,
  orderCodecs,
  resolveLocation,
  retryDelayMs,
  sleep,
  withStereoOpus,
} from './wire.js';

// A server that stops closes its sessions first. It may be back within a fraction of a second, so it is looked at
// often enough to notice, for about a second.
const PROBES = 8;
const PROBE_MS = 120;

// Viewers that are asked to leave all at once come one after the other: their picture goes on meanwhile.
const MOVE_SPREAD_MS = 500;
// How often it is looked whether a new session plays, and for how long the one before may stand still until there is
// nothing to wait for.
const LOOK_MS = 40;
const STILL_MS = 1000;

/**
 * What publishers and viewers have in common: states, retries, reconnection and the end.
 *
 * Events: `state` (detail `{state, reason}`), `retry` (detail `{status, delayMs, attempt, message}`),
 * `connection` (detail `{pc}`, a new peer connection was made).
 * States: `idle`, `connecting`, `connected`, `reconnecting`, `waiting`, `ended`, `failed`.
 */
class Session extends EventTarget {
  #endpoint;
  #home;
  #token;
  #retriesMax;
  #reconnects;
  #reconnectsAfterClose;
  #leg = null;
  #pending = null;
  #stopped = new AbortController();
  #connecting = null;
  // The leg that is to take over from the one that plays, and how its wait ends.
  #succession = null;
  #nap = new AbortController();
  #onPageHide = () => this.#leave();
  #onNetworkChange = () => {
    this.#nap.abort();
    this.restart();
  };

  /**
   * @param {string|URL} endpoint the WHIP or WHEP URL
   * @param {object} [options]
   * @param {string} [options.token] bearer token, sent with every request to the endpoint's origin
   * @param {number} [options.retriesMax] how often a failed POST is repeated before giving up
   * @param {boolean} [options.reconnect] make a new session when the connection is lost
   * @param {RTCIceServer[]} [options.iceServers] used instead of those the server names
   */
  constructor(endpoint, options, defaults) {
    super();
    this.#endpoint = new URL(endpoint, globalThis.location?.href);
    this.#home = this.#endpoint;
    this.#token = options.token ?? '';
    this.#retriesMax = options.retriesMax ?? defaults.retriesMax;
    this.#reconnects = options.reconnect ?? true;
    this.#reconnectsAfterClose = this.#reconnects && defaults.reconnectsAfterClose;
    this.iceServers = options.iceServers ?? null;
    this.state = 'idle';
  }

  /** The current peer connection, or null between two sessions. */
  get pc() {
    return this.#leg?.pc ?? null;
  }

  /** The URL of the session on the server, or null while there is none. */
  get sessionUrl() {
    return this.#leg?.url?.href ?? null;
  }

  /** Connects. Resolves once an answer is applied, rejects when retries are used up or pointless. */
  async start() {
    globalThis.addEventListener?.('pagehide', this.#onPageHide);
    globalThis.addEventListener?.('online', this.#onNetworkChange);
    this._setState('connecting');
    await this.#connect(0);
  }

  /** Ends the session on the server (DELETE) and closes the peer connection. Safe to call twice. */
  async stop() {
    if (this.#stopped.signal.aborted) return;
    this.#forgetPage();
    this.#stopped.abort();
    const pending = this.#pending;
    const leg = this.#leg;
    this.#leg = null;
    this._setState('ended', 'stopped here');
    pending?.abandon();
    await leg?.end();
  }

  /** Asks for an ICE restart, for example after a change of network. No-op while nothing is connected. */
  restart() {
    const leg = this.#leg;
    if (!leg || this.#stopped.signal.aborted) return;
    this._setState('reconnecting', 'looking for a new path');
    leg.restart().catch((error) => this.#lost(leg, error.message));
  }

  // Another origin never sees the token, whoever sent us there.
  #tokenAt(url) {
    return url.origin === this.#home.origin ? this.#token : '';
  }

  // Called by the viewer: from now on this endpoint is used.
  _moveTo(url) {
    this.#endpoint = url;
  }

  #leave() {
    // The page is going away: only a keep-alive request survives that.
    this.#forgetPage();
    this.#stopped.abort();
    this.#pending?.abandon();
    this.#leg?.end({ keepalive: true });
    this.#succession?.leg.end({ keepalive: true });
    this.#leg = null;
  }

  #forgetPage() {
    globalThis.removeEventListener?.('pagehide', this.#onPageHide);
    globalThis.removeEventListener?.('online', this.#onNetworkChange);
  }

  _setState(state, reason = '') {
    if (state === this.state && !reason) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail: { state, reason } }));
  }

  #connect(firstDelayMs) {
    this.#connecting ??= this.#connectWithRetries(firstDelayMs).finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  async #connectWithRetries(firstDelayMs) {
    const signal = this.#stopped.signal;
    if (firstDelayMs > 0) await sleep(firstDelayMs, signal);
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const leg = new Leg(this, this.#endpoint, this.#tokenAt(this.#endpoint));
      try {
        this.#pending = leg;
        await leg.open();
        if (this.#leg) await this.#untilItPlays(leg);
        if (signal.aborted) {
          await leg.end();
          return;
        }
        const former = this.#leg;
        this.#leg = leg;
        this._tookOver?.(leg, former);
        former?.end();
        return;
      } catch (error) {
        leg.end();
        if (signal.aborted) return;
        const isFinal = !isRetryable(error) || attempt >= this.#retriesMax;
        if (isFinal && this.#leg) {
          // It cannot move: what plays goes on, and when that ends it comes back to where it began.
          this.#endpoint = this.#home;
          return;
        }
        if (isFinal) {
          this.#forgetPage();
          this._setState('failed', error.message);
          throw error;
        }
        const delayMs = retryDelayMs({ attempt, retryAfterMs: error.retryAfterMs });
        // Nobody needs to hear of it as long as there is something to see.
        if (!this.#leg) {
          this._setState('waiting', error.message);
          this.dispatchEvent(
            new CustomEvent('retry', {
              detail: { status: error.status ?? 0, delayMs, attempt, message: error.message },
            }),
          );
        }
        // A server that was reached keeps its Retry-After; a network that is back is used at once.
        this.#nap = new AbortController();
        await sleep(delayMs, error.status ? signal : AbortSignal.any([signal, this.#nap.signal]));
      } finally {
        this.#pending = null;
      }
    }
  }

  /** Waits until a new leg plays, or the one that plays now has nothing more to show. */
  async #untilItPlays(leg) {
    const former = this.#leg;
    const over = new Promise((resolve, reject) => {
      this.#succession = { leg, resolve, reject };
    });
    let waiting = true;
    const looking = async () => {
      let [shown, since] = [-1, Date.now()];
      while (waiting && !this.#stopped.signal.aborted) {
        const [begun, went] = await Promise.all([leg.received(), former.received()]);
        if (begun > 0) return;
        if (went !== shown) [shown, since] = [went, Date.now()];
        else if (leg.pc.connectionState === 'connected' && Date.now() - since >= STILL_MS) return;
        await sleep(LOOK_MS, this.#stopped.signal);
      }
    };
    try {
      await Promise.race([looking(), over]);
    } finally {
      waiting = false;
      this.#succession = null;
    }
  }

  // Called by the viewer: makes a new session and lets go of this one when the new one plays.
  _move(leg) {
    if (leg !== this.#leg || this.#stopped.signal.aborted || !this.#reconnects) return;
    this.#connect(Math.random() * MOVE_SPREAD_MS).catch(() => {});
  }

  // Called by the leg.
  _connected(leg) {
    if (leg === this.#leg || leg === this.#pending) this._setState('connected');
  }

  // Called by the leg: the path is gone; try a restart first, then a new session.
  _pathLost(leg) {
    if (leg !== this.#leg || this.#stopped.signal.aborted) return;
    this.restart();
  }

  // Called by the leg: it cannot be saved.
  _lost(leg, reason, { byServer = false, delayMs = 0 } = {}) {
    this.#lost(leg, reason, byServer, delayMs);
  }

  #lost(leg, reason, byServer = false, delayMs = 0) {
    if (leg === this.#succession?.leg) {
      this.#succession.reject(new RequestFailed(0, reason));
      return;
    }
    if (leg !== this.#leg || this.#stopped.signal.aborted) return;
    this.#leg = null;
    leg.end();
    // The next one does not have to wait for anything any more.
    this.#succession?.resolve();
    if (!this.#reconnects) {
      this.#finish(reason);
      return;
    }
    this._setState('reconnecting', reason);
    if (byServer && !this.#reconnectsAfterClose) {
      this.#endUnlessServerIsGone(reason);
      return;
    }
    // A server that closed the session is not asked again at once by every viewer in the same instant.
    const wait = byServer ? retryDelayMs({ attempt: 0 }) : delayMs;
    this.#connect(wait).catch(() => {});
  }

  #finish(reason) {
    this.#forgetPage();
    this.#stopped.abort();
    this._setState('ended', reason);
  }

  // A server that stays well has ended this session on purpose; one that stops will want it back.
  async #endUnlessServerIsGone(reason) {
    const signal = this.#stopped.signal;
    const token = this.#tokenAt(this.#endpoint);
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    for (let probe = 0; probe < PROBES; probe += 1) {
      const response = await fetch(this.#endpoint, { cache: 'no-store', headers }).catch(() => null);
      if (signal.aborted) return;
      if (!response || response.status >= 500) {
        this.#connect(PROBE_MS).catch(() => {});
        return;
      }
      await sleep(PROBE_MS, signal);
      if (signal.aborted) return;
    }
    this.#finish(reason);
  }
}

/**
 * Whether a URL is a WHEP endpoint: a HEAD request is answered with the content type of SDP (draft-ietf-wish-whep
 * §4.2). The token is sent to `tokenFor`'s origin only.
 */
export async function isWhepUrl(url, { token = '', tokenFor = globalThis.location?.href } = {}) {
  const target = new URL(url, globalThis.location?.href);
  const trusted = token && tokenFor && target.origin === new URL(tokenFor).origin;
  const headers = trusted ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(target, { method: 'HEAD', cache: 'no-store', headers }).catch(() => null);
  return Boolean(response?.ok) && isSdpType(response.headers.get('Content-Type'));
}

/** Publishes one MediaStream by WHIP. */
export class Publisher extends Session {
  #stream;
  #codec;
  #bitrateMax;

  /**
   * @param {string|URL} endpoint the WHIP URL
   * @param {MediaStream} stream at most one audio and one video track
   * @param {object} [options] see Session, and:
   * @param {string} [options.codec] preferred video codec, e.g. `VP9`; empty = the browser's order
   * @param {number} [options.bitrateMax] video ceiling in bit/s; 0 = the browser's choice
   */
  constructor(endpoint, stream, options = {}) {
    super(endpoint, options, { retriesMax: 8, reconnectsAfterClose: false });
    this.#stream = stream;
    this.#codec = options.codec ?? '';
    this.#bitrateMax = options.bitrateMax ?? 0;
  }

  get stream() {
    return this.#stream;
  }

  // Called by the leg: a server that lives lets its publishers hear of it.
  get _isReportedTo() {
    return true;
  }

  /** Limits the video bit rate in bit/s from now on; 0 lifts the limit. */
  async setBitrateMax(bitrateMax) {
    this.#bitrateMax = bitrateMax;
    const sender = this.pc?.getSenders().find((each) => each.track?.kind === 'video');
    if (sender) await this.#limit(sender);
  }

  /** Sends another track of the same kind in place of the current one, without a new negotiation. */
  async replaceTrack(track) {
    const sender = this.pc?.getSenders().find((each) => each.track?.kind === track.kind);
    await sender?.replaceTrack(track);
    for (const old of this.#stream.getTracks()) {
      if (old.kind === track.kind) this.#stream.removeTrack(old);
    }
    this.#stream.addTrack(track);
  }

  _prepare(pc) {
    // RFC 9725 §4.4.2: every section carries the same media stream id.
    for (const track of this.#stream.getTracks()) {
      const transceiver = pc.addTransceiver(track, {
        direction: 'sendonly',
        streams: [this.#stream],
        sendEncodings: track.kind === 'video' ? [this.#encoding()] : undefined,
      });
      if (track.kind === 'video' && this.#codec && transceiver.setCodecPreferences) {
        const capabilities = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
        transceiver.setCodecPreferences(orderCodecs(capabilities, this.#codec));
      }
    }
  }

  async _answered(pc) {
    for (const sender of pc.getSenders()) {
      if (sender.track?.kind === 'video') await this.#limit(sender);
    }
  }

  #encoding() {
    return this.#bitrateMax > 0 ? { maxBitrate: this.#bitrateMax } : {};
  }

  async #limit(sender) {
    const parameters = sender.getParameters();
    if (!parameters.encodings?.length) return;
    for (const encoding of parameters.encodings) {
      if (this.#bitrateMax > 0) encoding.maxBitrate = this.#bitrateMax;
      else delete encoding.maxBitrate;
    }
    // A browser that refuses only keeps its own ceiling; publishing goes on.
    await sender.setParameters(parameters).catch(() => {});
  }

  _localSdp(sdp) {
    return sdp;
  }
}

/**
 * Watches one stream by WHEP.
 *
 * Further events: `media` (detail `{stream}`), `server` (detail `{type, data}`, from the server-sent events
 * extension: `active`, `inactive`, `viewercount`, …).
 */
export class Viewer extends Session {
  #tracks = new WeakMap();

  /** @param {string|URL} endpoint the WHEP URL */
  constructor(endpoint, options = {}) {
    super(endpoint, options, { retriesMax: Infinity, reconnectsAfterClose: true });
    this.stream = null;
    this.kinds = options.kinds ?? ['audio', 'video'];
  }

  _prepare(pc) {
    this._receive(pc);
    for (const kind of this.kinds) pc.addTransceiver(kind, { direction: 'recvonly' });
  }

  _receive(pc) {
    const tracks = [];
    this.#tracks.set(pc, tracks);
    // While another session plays, this one's tracks wait until it takes over.
    if (!this.pc) this.stream = new MediaStream();
    pc.addEventListener('track', ({ track }) => {
      tracks.push(track);
      if (!this.pc || this.pc === pc) this.#show(tracks);
    });
  }

  // The tracks change places in the same stream: an element that plays it keeps its last picture meanwhile.
  _tookOver(leg, former) {
    const tracks = this.#tracks.get(leg.pc) ?? [];
    const isNew = (track) => !this.stream.getTracks().includes(track);
    if (!tracks.some(isNew)) return;
    // A stream that has ended does not begin again everywhere.
    if (!former) this.stream = new MediaStream();
    this.#show(tracks);
  }

  #show(tracks) {
    const { stream } = this;
    const shown = stream.getTracks();
    for (const track of tracks) if (!shown.includes(track)) stream.addTrack(track);
    for (const track of shown) if (!tracks.includes(track)) stream.removeTrack(track);
    this.dispatchEvent(new CustomEvent('media', { detail: { stream } }));
  }

  _answered() {}

  _localSdp(sdp) {
    return withStereoOpus(sdp);
  }

  _serverEvent(leg, type, data) {
    this.dispatchEvent(new CustomEvent('server', { detail: { type, data } }));
    if (type !== 'reconnect') return;
    // WHEP extensions, "reconnect event": another endpoint may be named.
    if (typeof data?.url === 'string') {
      try {
        this._moveTo(resolveLocation(data.url, leg.url));
      } catch {
        // What is no URL names no other place.
      }
    }
    this._move(leg);
  }
}
