'use strict';
// The page of browser/page.js in Node.js: the browser SDK and its STS plugin, unpatched, with the
// little of a browser that they use. Takes commands as JSON lines, as shims/host.js does:
//
//   node page.js ORIGIN
//   {"number":1,"do":"open","with":[{...}]}  ->  {"number":1,"result":...} or {"number":1,"error":"..."}

const http = require('node:http');
const { createInterface } = require('node:readline');

const [origin] = process.argv.slice(2);

/** XMLHttpRequest over node:http. A name under `localhost` is this machine, as in a browser. */
class XMLHttpRequest extends EventTarget {
  status = 0;
  readyState = 0;
  responseText = '';
  onreadystatechange = null;
  #headers = { Origin: origin, Referer: `${origin}/`, 'User-Agent': 'page', Accept: '*/*' };
  #method;
  #url;

  open(method, url) {
    this.#method = method;
    this.#url = new URL(url);
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value;
  }

  send(body) {
    const bytes = Buffer.from(body, 'utf8');
    const headers = { ...this.#headers, 'Content-Length': bytes.length, Host: this.#url.host };
    const { port, pathname, search } = this.#url;
    const options = { host: '127.0.0.1', port, method: this.#method, path: pathname + search, headers };
    const request = http.request(options, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => this.#end(response.statusCode, Buffer.concat(chunks).toString('utf8')));
    });
    request.on('error', () => this.#end(0, ''));
    request.end(bytes);
  }

  #end(status, text) {
    Object.assign(this, { status, responseText: text, readyState: 4 });
    this.onreadystatechange?.();
    this.dispatchEvent(new Event('loadend'));
  }
}

globalThis.window = Object.assign(globalThis, { XMLHttpRequest });
globalThis.addEventListener = () => {};
console.error = () => {}; // the SDK tells every refusal there

const nameToLoopback = (url) => url.replace(/^http:\/\/[\w.-]*localhost:/, 'http://127.0.0.1:');
const realFetch = globalThis.fetch;
globalThis.fetch = (url, init = {}) => realFetch(nameToLoopback(url), init);

require('@aliyun-sls/web-track-browser');
globalThis.stsPlugin = require('@aliyun-sls/web-sts-plugin');
require('../browser/page.js');

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { number, do: operation, with: values } = JSON.parse(line);
  let answer;
  try {
    answer = { number, result: await globalThis.page[operation](...values) };
  } catch (error) {
    answer = { number, error: error.stack };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}).on('close', () => process.exit(0));
