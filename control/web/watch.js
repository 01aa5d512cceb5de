// The panel that plays a stream.

import { links } from './commands.js';
import { Numbers, byId, copyRow, retryText, showState } from './ui.js';
import { Viewer, isWhepUrl } from './whip-whep.js';

const STATES = {
  connecting: 'Connecting…',
  connected: 'Connected',
  reconnecting: 'Reconnecting…',
  waiting: 'Waiting…',
  ended: 'Not watching',
  failed: 'Failed',
};

export class WatchPanel {
  #viewer = null;
  #context;
  #video = byId('watch-video');
  #notice = byId('watch-notice');
  #framesSeen = false;
  #stillSeconds = 0;
  #numbers = new Numbers(byId('watch-numbers'), 'in', (now) => this.#judge(now));

  /** @param {{base: string, token: () => string, onName: (name: string) => void}} context */
  constructor(context) {
    this.#context = context;
    byId('watch-form').addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#viewer) this.stop();
      else this.watch(byId('watch-name').value.trim());
    });
    byId('watch-sound').addEventListener('click', () => this.#setMuted(!this.#video.muted));
    byId('watch-unmute').addEventListener('click', () => this.#setMuted(false));
    byId('watch-full').addEventListener('click', () => this.#fullScreen());
    this.#video.addEventListener('dblclick', () => this.#fullScreen());
    this.#video.addEventListener('playing', () => {
      this.#framesSeen = true;
      this.#say('');
    });
  }

  get name() {
    return this.#viewer ? byId('watch-name').value.trim() : '';
  }

  async watch(name) {
    if (!name) return;
    this.stop();
    let endpoint = links(this.#context.base, name).whep;
    if (/^https?:\/\//i.test(name)) {
      // A whole URL is played if it says that it is WHEP's (draft-ietf-wish-whep §4.2).
      const token = this.#context.token();
      if (!(await isWhepUrl(name, { token }))) {
        this.#say('There is no WHEP endpoint at this URL.');
        return;
      }
      endpoint = name;
    }
    byId('watch-name').value = name;
    const viewer = new Viewer(endpoint, { token: this.#context.token() });
    this.#viewer = viewer;
    this.#framesSeen = false;
    this.#context.onName(name);
    this.#showRunning(true);
    this.#showLinks(name);
    this.#say('Connecting…');
    viewer.addEventListener('state', ({ detail }) => this.#onState(viewer, detail));
    viewer.addEventListener('retry', ({ detail }) => viewer === this.#viewer && this.#say(retryText(detail)));
    viewer.addEventListener('media', ({ detail }) => viewer === this.#viewer && this.#play(detail.stream));
    viewer.addEventListener('server', ({ detail }) => {
      if (viewer === this.#viewer && detail.type === 'inactive') this.#say('The publisher has left. Waiting for the next one…');
    });
    this.#numbers.start(() => viewer.pc);
    await viewer.start().catch(() => {});
  }

  stop() {
    const viewer = this.#viewer;
    if (!viewer) return;
    this.#viewer = null;
    viewer.stop();
    this.#numbers.stop();
    this.#video.srcObject = null;
    this.#showRunning(false);
    byId('watch-unmute').hidden = true;
    showState(byId('watch-state'), 'idle', 'Not watching');
    this.#say('Choose a stream from the list, or type its name.');
    this.#context.onName('');
  }

  #onState(viewer, { state, reason }) {
    if (viewer !== this.#viewer) return;
    showState(byId('watch-state'), state, STATES[state] ?? state);
    if (state === 'failed') {
      this.stop();
      showState(byId('watch-state'), 'failed', 'Failed');
      this.#say(`This did not work: ${reason}.`);
    } else if (state === 'connected' && !this.#framesSeen) {
      this.#say('Connected. Waiting for the publisher…');
    }
  }

  // Once a second: a picture that stands still for three seconds is worth a word.
  #judge({ video }) {
    const moving = (video?.fps ?? 0) > 0;
    this.#stillSeconds = moving ? 0 : this.#stillSeconds + 1;
    if (moving) this.#say('');
    else if (this.#framesSeen && this.#stillSeconds === 3 && this.#viewer?.state === 'connected') {
      this.#say('No picture at the moment. It comes back by itself.');
    }
  }

  async #play(stream) {
    if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
    try {
      await this.#video.play();
      this.#setMuted(this.#video.muted);
    } catch (error) {
      if (error.name !== 'NotAllowedError') return;
      // Without a gesture on the page, browsers play only in silence.
      this.#setMuted(true);
      byId('watch-unmute').hidden = false;
      await this.#video.play().catch(() => {});
    }
  }

  #setMuted(muted) {
    this.#video.muted = muted;
    const button = byId('watch-sound');
    button.textContent = muted ? 'Sound on' : 'Sound off';
    if (!muted) byId('watch-unmute').hidden = true;
  }

  #fullScreen() {
    const screen = byId('watch-screen');
    if (document.fullscreenElement) document.exitFullscreen();
    else if (screen.requestFullscreen) screen.requestFullscreen().catch(() => {});
    // iPhones let only the video itself fill the screen.
    else this.#video.webkitEnterFullscreen?.();
  }

  #showRunning(running) {
    const go = byId('watch-go');
    go.textContent = running ? 'Stop' : 'Watch';
    go.dataset.on = running;
    byId('watch-name').readOnly = running;
    for (const id of ['watch-sound', 'watch-full', 'watch-links']) byId(id).hidden = !running;
  }

  #showLinks(name) {
    const { watch, whep } = links(this.#context.base, name);
    byId('watch-links').replaceChildren(copyRow('Watch link', watch), copyRow('WHEP', whep));
  }

  #say(text) {
    this.#notice.textContent = text;
    this.#notice.hidden = text === '';
  }
}
