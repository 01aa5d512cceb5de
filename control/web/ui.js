// Small pieces of interface which both panels use.

import { rows, sample } from './stats.js';

export const byId = (id) => document.getElementById(id);

/** A line that can be copied: label, text, button. */
export function copyRow(label, text) {
  const element = document.createElement('div');
  element.className = 'copy';
  const name = document.createElement('span');
  name.className = 'label';
  name.textContent = label;
  const code = document.createElement('code');
  code.textContent = text;
  code.tabIndex = 0;
  code.setAttribute('aria-label', label);
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Copy';
  button.setAttribute('aria-label', `Copy: ${label}`);
  button.addEventListener('click', async () => {
    const done = await copy(text, code);
    button.textContent = done ? 'Copied' : 'Press Ctrl+C';
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
  element.append(name, code, button);
  return element;
}

async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without HTTPS there is no clipboard: the text is selected, ready for the keyboard.
    getSelection().selectAllChildren(element);
    return document.execCommand?.('copy') ?? false;
  }
}

/** Draws the numbers of a peer connection into a `<dl>` once a second until `stop` is called. */
export class Numbers {
  #list;
  #direction;
  #onSample;
  #previous = null;
  #timer = null;
  #pc = null;

  constructor(list, direction, onSample = () => {}) {
    this.#list = list;
    this.#direction = direction;
    this.#onSample = onSample;
  }

  start(pcOf) {
    this.stop();
    this.#list.hidden = false;
    this.#timer = setInterval(() => this.#tick(pcOf()), 1000);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#previous = null;
    this.#list.hidden = true;
  }

  async #tick(pc) {
    if (!pc) return;
    if (pc !== this.#pc) this.#previous = null;
    this.#pc = pc;
    const now = sample(await pc.getStats(), this.#previous);
    if (this.#timer === null || pc !== this.#pc) return;
    this.#previous = now;
    this.#draw(rows(now, this.#direction));
    this.#onSample(now);
  }

  #draw(pairs) {
    pairs.forEach(([label, value], index) => {
      let cell = this.#list.children[index];
      if (!cell) {
        cell = document.createElement('div');
        cell.append(document.createElement('dt'), document.createElement('dd'));
        this.#list.append(cell);
      }
      if (cell.children[0].textContent !== label) cell.children[0].textContent = label;
      if (cell.children[1].textContent !== value) cell.children[1].textContent = value;
    });
  }
}

/** Writes a state into its pill. */
export function showState(pill, state, text) {
  pill.dataset.state = state;
  if (pill.textContent !== text) pill.textContent = text;
}

/** The sentence for a retry. */
export function retryText({ message, delayMs }) {
  return `${message}. Trying again in ${Math.max(1, Math.round(delayMs / 1000))} s.`;
}
