'use strict';
// What the request functions of all platforms have in common: bytes on the wire, a queue, a time
// limit, callbacks and a task that can be aborted. What sets a platform apart is in its `traits`:
//
//   headerOptions   names of the option that holds the caller's headers
//   contentType     (data) => the default Content-Type
//   forced          (options) => headers that the platform sets whatever the caller says
//   parallel        requests open at once; more wait, first in first out
//   timeoutMs       default limit of a request; maxTimeoutMs, if there is one, caps the caller's
//   url             (url) => the URL as the platform really asks for it
//   refusal         (options, url) => what the app is told instead of a request, or undefined
//   encode          (text) => the text as the platform sends it
//   outcome         (answer, options) => { success } or { fail }: what the app is told
//   failure         (cause) => what the app is told: 'timeout', 'network' or 'abort'
//   cookies         true when the platform keeps cookies by itself
//   promises        true when a call without callbacks returns a Promise
//
// The one liberty: `https://HOST` goes to a port of this machine over plain HTTP, with HOST as the Host header.
// node:http and not fetch, because fetch adds headers that no mini program sends.

const { EventEmitter } = require('node:events');
const http = require('node:http');
const { realSetTimeout, realClearTimeout } = require('./lifecycle');

const MAX_REDIRECTS = 5;

class Wire extends EventEmitter {
  constructor(port, lifecycle, traits) {
    super();
    this.told = [];
    this.open = new Set();
    this.waiting = [];
    this.ports = {};
    this._port = port;
    this._lifecycle = lifecycle;
    this._traits = { parallel: Infinity, url: (url) => url, encode: (text) => text, ...traits };
    this._agent = new http.Agent({ keepAlive: true, ...traits.agent });
    this._cookies = new Map();
    this.request = this.request.bind(this); // the SDK takes the function off its object
  }

  request(options) {
    const call = { options, ended: false };
    call.promise = new Promise((resolve, reject) => Object.assign(call, { resolve, reject }));
    const refusal = this._traits.refusal?.(options, this._traits.url(options.url));
    if (refusal) {
      this._end(call, { fail: refusal });
    } else if (this.open.size < this._traits.parallel) {
      this._start(call);
    } else {
      this.waiting.push(call);
    }
    const task = { abort: () => this._fail(call, this._traits.failure('abort')) };
    if (this._traits.promises && !hasCallbacks(options)) {
      return Object.assign(call.promise, task);
    }
    call.promise.catch(() => {});
    return task;
  }

  /** Ends every request, open and waiting, with what the app is then told. */
  failAll(result) {
    [...this.open, ...this.waiting].forEach((call) => this._fail(call, result));
  }

  _start(call) {
    this.open.add(call);
    const { timeoutMs, maxTimeoutMs = Infinity } = this._traits;
    const limit = Math.min(call.options.timeout || timeoutMs, maxTimeoutMs);
    call.timer = realSetTimeout(() => this._fail(call, this._traits.failure('timeout')), limit);
    const method = (call.options.method || 'GET').toUpperCase();
    this._exchange(call, new URL(this._traits.url(call.options.url)), method, call.options.data, 0);
  }

  _exchange(call, url, method, data, redirects) {
    const { headers, body, query } = this._compose(call.options, url, method, data);
    const path = url.pathname + (query ? `${url.search || '?'}${query}` : url.search);
    const port = this.ports[url.hostname] || this._port;
    const request = http.request({ host: '127.0.0.1', port, agent: this._agent, method, path, headers });
    call.request = request;
    request.on('error', () => this._fail(call, this._traits.failure('network')));
    request.on('finish', () => this.emit('sent', call.options));
    request.on('response', (response) => {
      const chunks = [];
      response.on('error', () => this._fail(call, this._traits.failure('network')));
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        this._keepCookies(response.headers['set-cookie']);
        const { location } = response.headers;
        if (location && response.statusCode >= 300 && response.statusCode < 400 && redirects < MAX_REDIRECTS) {
          const again = response.statusCode >= 307;
          this._exchange(call, new URL(location, url), again ? method : 'GET', again ? data : undefined, redirects + 1);
          return;
        }
        const text = Buffer.concat(chunks).toString('utf8');
        const answer = { status: response.statusCode, headers: response.headers, text };
        this._end(call, this._traits.outcome(answer, call.options));
      });
    });
    request.end(body);
  }

  _compose(options, url, method, data) {
    const headers = new Map();
    const set = (name, value) => headers.set(name.toLowerCase(), [name, value]);
    for (const option of this._traits.headerOptions) {
      Object.entries(options[option] || {}).forEach(([name, value]) => set(name, value));
    }
    if (!headers.has('content-type')) {
      set('Content-Type', this._traits.contentType(data));
    }
    set('Host', url.host);
    if (this._cookies.size > 0) {
      set('Cookie', [...this._cookies].map(([name, value]) => `${name}=${value}`).join('; '));
    }
    Object.entries(this._traits.forced(options)).forEach(([name, value]) => set(name, value));
    const { body, query } = encodeData(method, headers.get('content-type')[1], data, this._traits.encode);
    if (method !== 'GET') {
      set('Content-Length', body ? body.length : 0);
    }
    return { headers: Object.fromEntries(headers.values()), body, query };
  }

  _keepCookies(lines = []) {
    if (this._traits.cookies) {
      lines.forEach((line) => this._cookies.set(...line.split(';', 1)[0].split(/=(.*)/s, 2)));
    }
  }

  _fail(call, result) {
    if (!call.ended) {
      this._end(call, { fail: result });
      call.request?.destroy();
    }
  }

  _end(call, outcome) {
    if (call.ended) {
      return;
    }
    call.ended = true;
    realClearTimeout(call.timer);
    this.open.delete(call);
    this.waiting = this.waiting.filter((other) => other !== call);
    const [kind] = Object.keys(outcome);
    const result = outcome[kind];
    setImmediate(() => this._lifecycle.run(() => {
      this.told.push({ kind, result });
      call.options[kind]?.(result);
      call.options.complete?.(result);
      (kind === 'success' ? call.resolve : call.reject)(result);
    }));
    while (this.waiting.length > 0 && this.open.size < this._traits.parallel) {
      this._start(this.waiting.shift());
    }
  }
}

function hasCallbacks(options) {
  return ['success', 'fail', 'complete'].some((name) => typeof options[name] === 'function');
}

/** The rules that all platforms share: text as it is, objects by method and Content-Type, buffers as they are. */
function encodeData(method, contentType, data, encode) {
  if (data === undefined || data === null) {
    return {};
  }
  if (typeof data === 'string') {
    return { body: Buffer.from(encode(data), 'utf8') };
  }
  if (data instanceof ArrayBuffer) {
    return { body: Buffer.from(data) };
  }
  const pairs = () => Object.entries(data)
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
    .join('&');
  if (method === 'GET') {
    return { query: pairs() };
  }
  return { body: Buffer.from(/json/i.test(contentType) ? JSON.stringify(data) : pairs(), 'utf8') };
}

/** One attempt at JSON.parse, as dataType `json` makes; what does not parse stays text. */
function jsonOrText(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

module.exports = { Wire, jsonOrText };
