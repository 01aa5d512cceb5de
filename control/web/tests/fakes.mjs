// Stand-ins for what a browser has and Node has not. They record what is done to them.

export const OFFER = [
  'v=0', 'o=- 1 2 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0 1',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'c=IN IP4 0.0.0.0', 'a=ice-ufrag:EsAw', 'a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1',
  'a=ice-options:trickle', 'a=setup:actpass', 'a=mid:0', 'a=rtcp-mux', 'a=rtpmap:111 opus/48000/2',
  'a=fmtp:111 minptime=10;useinbandfec=1',
  'm=video 9 UDP/TLS/RTP/SAVPF 96 97', 'c=IN IP4 0.0.0.0', 'a=ice-ufrag:EsAw', 'a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1',
  'a=ice-options:trickle', 'a=setup:actpass', 'a=mid:1', 'a=rtcp-mux', 'a=rtpmap:96 VP8/90000', 'a=fmtp:96 x=1', '',
].join('\r\n');

export const ANSWER = [
  'v=0', 'o=- 3 4 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0 1', 'a=ice-lite',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=ice-ufrag:old1', 'a=ice-pwd:old1old1old1old1old1old1', 'a=mid:0',
  'a=candidate:1 1 udp 1 192.0.2.7 7777 typ host', 'a=end-of-candidates',
  'm=video 9 UDP/TLS/RTP/SAVPF 96', 'a=ice-ufrag:old1', 'a=ice-pwd:old1old1old1old1old1old1', 'a=mid:1',
  'a=candidate:1 1 udp 1 192.0.2.7 7777 typ host', 'a=end-of-candidates', '',
].join('\r\n');

/** What a server sends back to a restart. */
export const RESTART = [
  'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=mid:0', 'a=ice-ufrag:srv2', 'a=ice-pwd:srv2srv2srv2srv2srv2srv2',
  'a=candidate:1 1 udp 1 192.0.2.8 7777 typ host', 'a=end-of-candidates', '',
].join('\r\n');

export class FakePeer extends EventTarget {
  static all = [];

  constructor(configuration) {
    super();
    this.configuration = configuration;
    this.transceivers = [];
    this.log = [];
    this.remotes = [];
    this.connectionState = 'new';
    this.iceGatheringState = 'new';
    this.signalingState = 'stable';
    this.localDescription = null;
    this.offers = 0;
    // What has been received and shown.
    this.packets = 0;
    // What has come over the network; null where the browser does not tell.
    this.bytes = null;
    this.transport = Object.assign(new EventTarget(), { state: 'new' });
    FakePeer.all.push(this);
  }

  addTransceiver(trackOrKind, init) {
    const track = typeof trackOrKind === 'string' ? null : trackOrKind;
    const sender = {
      track,
      transport: this.transport,
      parameters: { encodings: [{}] },
      getParameters: () => structuredClone(sender.parameters),
      setParameters: async (parameters) => { sender.parameters = parameters; },
      replaceTrack: async (next) => { sender.track = next; },
    };
    const transceiver = { kind: track?.kind ?? trackOrKind, init, sender, receiver: {} };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  getSenders() { return this.transceivers.map(({ sender }) => sender); }
  getReceivers() { return this.transceivers.map(({ receiver }) => receiver); }
  getTransceivers() { return this.transceivers; }
  async getStats() {
    const flow = { type: 'inbound-rtp', kind: 'video', packetsReceived: this.packets, framesDecoded: this.packets };
    const pair = { type: 'candidate-pair', bytesReceived: this.bytes };
    return new Map([['v', flow], ...(this.bytes === null ? [] : [['p', pair]])]);
  }
  getConfiguration() { return this.configuration; }
  setConfiguration(configuration) { this.log.push('configure'); this.configuration = configuration; }

  async createOffer(options = {}) {
    this.offers += 1;
    const ufrag = options.iceRestart ? `cli${this.offers}` : 'EsAw';
    return { type: 'offer', sdp: OFFER.replaceAll('EsAw', ufrag) };
  }

  async createAnswer() { return { type: 'answer', sdp: ANSWER }; }

  async setLocalDescription(description) {
    this.log.push(`local ${description.type}`);
    if (description.type === 'rollback') {
      this.signalingState = 'stable';
      return;
    }
    this.signalingState = description.type === 'offer' ? 'have-local-offer' : 'stable';
    this.localDescription = description;
    this.iceGatheringState = 'complete';
  }

  async setRemoteDescription(description) {
    this.log.push(`remote ${description.type}`);
    this.remotes.push(description.sdp);
    this.signalingState = description.type === 'offer' ? 'have-remote-offer' : 'stable';
  }

  candidate(candidate) {
    const value = candidate && { candidate, sdpMid: '0', sdpMLineIndex: 0, usernameFragment: null };
    this.dispatchEvent(Object.assign(new Event('icecandidate'), { candidate: value }));
  }

  give(track) {
    this.dispatchEvent(Object.assign(new Event('track'), { track }));
  }

  become(state) {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }

  close() { this.log.push('close'); this.connectionState = 'closed'; }
}

/**
 * A fetch that answers from `routes`: `(request, count) => Response`, and records each request.
 * `url` of the response can be set to play a redirect.
 */
export function fakeFetch(answer) {
  const requests = [];
  const fetch = async (url, init = {}) => {
    const request = { url: String(url), method: init.method ?? 'GET', headers: init.headers ?? {}, body: init.body, keepalive: init.keepalive, signal: init.signal };
    requests.push(request);
    const response = await answer(request, requests.length);
    return response;
  };
  return { fetch, requests };
}

/** A Response with a URL of its own, as after a redirect. */
export function reply(status, headers = {}, body = null, url = '') {
  const response = new Response([204, 304].includes(status) ? null : body, { status, headers });
  Object.defineProperty(response, 'url', { value: url });
  return response;
}

/** Lets everything that is ready run, without moving the clock. */
export async function settle() {
  for (let turn = 0; turn < 40; turn += 1) await Promise.resolve();
}

class FakeElement {
  constructor(tag) {
    this.tag = tag;
    this.children = [];
    this.dataset = {};
    this.attributes = {};
    this.listeners = {};
    this.text = '';
    this.parent = null;
  }

  get textContent() { return this.text + this.children.map((child) => child.textContent).join(''); }
  set textContent(text) { this.text = text; this.children = []; }
  set innerHTML(_) { throw new Error('markup from a string'); }
  set outerHTML(_) { throw new Error('markup from a string'); }
  insertAdjacentHTML() { throw new Error('markup from a string'); }
  setAttribute(name, value) { this.attributes[name] = value; }
  removeAttribute(name) { delete this.attributes[name]; }
  addEventListener(type, listener) { this.listeners[type] = listener; }
  append(...children) { for (const child of children) this.insertBefore(child, null); }
  insertBefore(child, before) {
    child.remove();
    const at = before ? this.children.indexOf(before) : this.children.length;
    this.children.splice(at, 0, child);
    child.parent = this;
  }
  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((child) => child !== this);
    this.parent = null;
  }
}

/** Just enough of a document to draw a list; any attempt to set markup throws. */
export const fakeDocument = { createElement: (tag) => new FakeElement(tag) };
