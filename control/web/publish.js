// The panel that sends a camera or a screen.

import { links, tools } from './commands.js';
import { Numbers, byId, copyRow, retryText, showState } from './ui.js';
import { Publisher } from './whip-whep.js';

const STATES = {
  connecting: 'Connecting…',
  connected: 'On air',
  reconnecting: 'Reconnecting…',
  waiting: 'Waiting…',
  ended: 'Off air',
  failed: 'Failed',
};
const FIRST_NOTICE = 'Your picture appears here first. Nobody sees it before you go live.';
const RATIO = 16 / 9;

export class PublishPanel {
  #context;
  #publisher = null;
  #stream = null;
  #busy = false;
  #video = byId('publish-video');
  #notice = byId('publish-notice');
  #numbers = new Numbers(byId('publish-numbers'), 'out');

  /** @param {{base: string, token: () => string, onName: (name: string) => void}} context */
  constructor(context) {
    this.#context = context;
    byId('publish-form').addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#publisher) this.stop();
      else this.#alone(() => this.#goLive());
    });
    byId('publish-preview').addEventListener('click', () => {
      if (this.#stream) this.#closeStream();
      else this.#alone(() => this.#openStream());
    });
    byId('publish-name').addEventListener('input', () => {
      this.showLinks();
      context.onName(this.name);
    });
    for (const id of ['source', 'camera', 'microphone', 'resolution']) {
      byId(id).addEventListener('change', () => this.#stream && this.#alone(() => this.#change()));
    }
    byId('source').addEventListener('change', () => this.#showSource());
    byId('bitrate').addEventListener('change', () => {
      this.#publisher?.setBitrateMax(Number(byId('bitrate').value));
    });
    for (const kind of ['audio', 'video']) {
      byId(`mute-${kind}`).addEventListener('click', () => this.#mute(kind));
    }
    navigator.mediaDevices?.addEventListener?.('devicechange', () => this.#listDevices());
    this.#listCodecs();
    this.#showSource();
  }

  get name() {
    return byId('publish-name').value.trim();
  }

  set name(name) {
    byId('publish-name').value = name;
    this.showLinks();
  }

  async stop() {
    const publisher = this.#publisher;
    this.#publisher = null;
    this.#numbers.stop();
    this.#showLive(false);
    showState(byId('publish-state'), 'idle', 'Off air');
    await publisher?.stop();
  }

  async #goLive() {
    if (!this.name) return;
    if (!this.#stream && !(await this.#openStream())) return;
    const { whip } = links(this.#context.base, this.name);
    const publisher = new Publisher(whip, new MediaStream(this.#stream.getTracks()), {
      token: this.#context.token(),
      codec: byId('codec').value,
      bitrateMax: Number(byId('bitrate').value),
    });
    this.#publisher = publisher;
    publisher.addEventListener('state', ({ detail }) => this.#onState(publisher, detail));
    publisher.addEventListener('retry', ({ detail }) => publisher === this.#publisher && this.#say(retryText(detail)));
    this.#showLive(true);
    this.#say('');
    this.#context.onName(this.name);
    this.#numbers.start(() => publisher.pc);
    // The button must not stay blocked while the server is slow.
    publisher.start().catch(() => {});
  }

  #onState(publisher, { state, reason }) {
    if (publisher !== this.#publisher) return;
    showState(byId('publish-state'), state, STATES[state] ?? state);
    if (state === 'connected') this.#say('');
    if (state !== 'failed' && state !== 'ended') return;
    this.stop();
    showState(byId('publish-state'), 'failed', STATES[state]);
    this.#say(`Not on air any more: ${reason}.`);
  }

  async #openStream() {
    if (!navigator.mediaDevices?.getUserMedia) {
      this.#say('Browsers hand out cameras only to pages opened by HTTPS or from this very machine (localhost).');
      return false;
    }
    try {
      this.#stream = await this.#capture();
    } catch (error) {
      this.#say(captureProblem(error));
      return false;
    }
    this.#show();
    await this.#listDevices();
    return true;
  }

  #closeStream() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
    byId('publish-preview').textContent = 'Preview';
    for (const kind of ['audio', 'video']) byId(`mute-${kind}`).hidden = true;
    this.#say(FIRST_NOTICE);
  }

  async #capture() {
    const height = Number(byId('resolution').value);
    const size = { width: { ideal: Math.round(height * RATIO) }, height: { ideal: height } };
    const microphone = byId('microphone').value;
    const audio = microphone === 'none' ? false : microphone ? { deviceId: { exact: microphone } } : true;
    if (byId('source').value === 'screen') return captureScreen(size, audio);
    const camera = byId('camera').value;
    const video = { ...size, frameRate: { ideal: 30 }, ...(camera ? { deviceId: { exact: camera } } : {}) };
    try {
      return await navigator.mediaDevices.getUserMedia({ video, audio });
    } catch (error) {
      // A machine without a microphone can still show its camera.
      if (error.name !== 'NotFoundError' || !audio) throw error;
      return navigator.mediaDevices.getUserMedia({ video });
    }
  }

  // Another source or size: the new tracks take the place of the old ones, on air as well.
  async #change() {
    let next;
    try {
      next = await this.#capture();
    } catch (error) {
      this.#say(captureProblem(error));
      return;
    }
    const old = this.#stream;
    this.#stream = next;
    for (const track of next.getTracks()) {
      track.enabled = byId(`mute-${track.kind}`).getAttribute('aria-pressed') !== 'true';
      await this.#publisher?.replaceTrack(track);
    }
    for (const track of old?.getTracks() ?? []) track.stop();
    this.#show();
    await this.#listDevices();
  }

  #show() {
    const stream = this.#stream;
    this.#video.srcObject = stream;
    this.#video.classList.toggle('mirrored', byId('source').value === 'camera');
    byId('publish-preview').textContent = 'Close preview';
    for (const kind of ['audio', 'video']) {
      byId(`mute-${kind}`).hidden = !stream.getTracks().some((track) => track.kind === kind);
    }
    for (const track of stream.getVideoTracks()) {
      track.addEventListener('ended', () => {
        if (stream !== this.#stream) return;
        this.stop();
        this.#closeStream();
        this.#say('The source has ended.');
      });
    }
    this.#say('');
  }

  #mute(kind) {
    const button = byId(`mute-${kind}`);
    const muted = button.getAttribute('aria-pressed') !== 'true';
    button.setAttribute('aria-pressed', String(muted));
    for (const track of this.#stream?.getTracks() ?? []) {
      if (track.kind === kind) track.enabled = !muted;
    }
  }

  async #listDevices() {
    const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => []);
    for (const [id, kind, keep] of [['camera', 'videoinput', 1], ['microphone', 'audioinput', 2]]) {
      const select = byId(id);
      const chosen = select.value;
      while (select.options.length > keep) select.remove(keep);
      for (const device of devices ?? []) {
        // Without permission the ids are empty; "default" doubles our own first entry.
        if (device.kind !== kind || !device.deviceId || device.deviceId === 'default') continue;
        select.add(new Option(device.label || `Device ${select.options.length}`, device.deviceId));
      }
      select.value = chosen;
      if (select.selectedIndex < 0) select.selectedIndex = 0;
    }
  }

  #listCodecs() {
    const codecs = globalThis.RTCRtpSender?.getCapabilities?.('video')?.codecs ?? [];
    const names = new Set(codecs.map(({ mimeType }) => mimeType.split('/')[1]));
    for (const name of ['H264', 'VP8', 'VP9', 'AV1', 'H265']) {
      if (names.has(name)) byId('codec').add(new Option(name, name));
    }
  }

  #showSource() {
    byId('camera').disabled = byId('source').value === 'screen';
  }

  #showLive(live) {
    const go = byId('publish-go');
    go.textContent = live ? 'Stop' : 'Go live';
    go.dataset.on = live;
    byId('publish-name').readOnly = live;
    byId('codec').disabled = live;
    byId('publish-preview').hidden = live;
  }

  /** Draws the links and command lines for the current name. */
  showLinks() {
    const name = this.name || 'NAME';
    const needsToken = this.#context.token() !== '';
    const { watch, whip } = links(this.#context.base, name);
    byId('publish-links').replaceChildren(copyRow('Watch link', watch), copyRow('WHIP', whip));
    const open = new Set([...byId('tools').querySelectorAll('details[open]')].map(({ id }) => id));
    byId('tools').replaceChildren(
      ...tools(this.#context.base, name, { needsToken }).map((tool) => {
        const details = document.createElement('details');
        details.id = `tool-${tool.id}`;
        details.open = open.has(details.id);
        const summary = document.createElement('summary');
        summary.textContent = tool.title;
        const note = document.createElement('p');
        note.className = 'hint';
        note.textContent = tool.note;
        details.append(summary, note, ...tool.lines.map(({ label, text }) => copyRow(label, text)));
        return details;
      }),
    );
  }

  #say(text) {
    this.#notice.textContent = text;
    this.#notice.hidden = text === '';
  }

  // Permission prompts take their time; a second press meanwhile would open a second camera.
  async #alone(work) {
    if (this.#busy) return;
    this.#busy = true;
    byId('publish-go').disabled = true;
    try {
      await work();
    } finally {
      this.#busy = false;
      byId('publish-go').disabled = false;
    }
  }
}

async function captureScreen(size, audio) {
  if (!navigator.mediaDevices.getDisplayMedia) throw new DOMException('', 'NotSupportedError');
  const screen = await navigator.mediaDevices.getDisplayMedia({ video: { ...size, frameRate: { ideal: 30 } }, audio: true });
  for (const track of screen.getVideoTracks()) track.contentHint = 'detail';
  if (!audio) return screen;
  // The sound of the shared tab or screen goes before the microphone: one stream carries one audio track.
  if (screen.getAudioTracks().length === 0) {
    const microphone = await navigator.mediaDevices.getUserMedia({ audio }).catch(() => null);
    for (const track of microphone?.getAudioTracks() ?? []) screen.addTrack(track);
  }
  return screen;
}

function captureProblem(error) {
  const known = {
    NotAllowedError: 'The browser was not allowed to use this source. Allow it in the address bar and try again.',
    NotFoundError: 'No camera was found.',
    NotReadableError: 'Another program is using this device.',
    OverconstrainedError: 'The chosen device is gone. Choose another one.',
    NotSupportedError: 'This browser cannot share its screen.',
  };
  return known[error.name] ?? `The source could not be opened: ${error.message}.`;
}
