// Reads server-sent events through fetch, which unlike EventSource can carry an Authorization header.

/**
 * Yields `{type, data, id}` for each event of a `text/event-stream` body.
 *
 * Lines end in CR, LF or CRLF; unknown fields and comments are skipped, as the HTML standard asks.
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Turns pieces of text into events; a piece may end anywhere. */
export class EventParser {
  #rest = '';
  #type = '';
  #data = [];
  #id = '';

  /** @param {string} text the next piece; @returns {{type: string, data: string, id: string}[]} */
  push(text) {
    const events = [];
    this.#rest += text;
    if (this.#rest.length > REST_LEN_MAX) throw new Error('an event is too long');
    for (;;) {
      const end = this.#rest.search(/[\r\n]/);
      if (end < 0) break;
      // A CR at the very end may be half of a CRLF.
      if (this.#rest[end] === '\r' && end === this.#rest.length - 1) break;
      const line = this.#rest.slice(0, end);
      const step = this.#rest[end] === '\r' && this.#rest[end + 1] === '\n' ? 2 : 1;
      this.#rest = this.#rest.slice(end + step);
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line) {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#type = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id') this.#id = value;
    return null;
  }

  #dispatch() {
    const event = { type: this.#type || 'message', data: this.#data.join('\n'), id: this.#id };
    const empty = this.#data.length === 0;
    this.#type = '';
    this.#data = [];
    return empty ? null : event;
  }
}

// A list of ten thousand streams is about 8 MB; more than twice that is not a list.
const REST_LEN_MAX = 20_000_000;
