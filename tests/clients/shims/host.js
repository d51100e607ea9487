'use strict';
// Hosts the unpatched mini-program SDK on one platform, and takes commands as JSON lines:
//
//   node host.js PLATFORM PORT SWITCHES
//   {"number":1,"do":"tracker","with":[{...}]}  ->  {"number":1,"result":...} or {"number":1,"error":"..."}

const { createInterface } = require('node:readline');
const { realSetTimeout } = require('./lifecycle');

const PLATFORMS = { ...require('./wx'), ...require('./tt'), ...require('./swan'), ...require('./my') };

const [name, port, switches] = process.argv.slice(2);
const traits = JSON.parse(switches);
const platform = PLATFORMS[name](Number(port), traits);
platform.wire.ports = traits.ports || {}; // of hosts that are elsewhere
Object.assign(globalThis, platform.globals);
platform.lifecycle.takeOverTimers();

// After the globals, because the SDK looks for its platform once, when it is loaded.
const { default: Tracker } = require('@aliyun-sls/web-track-mini');
const request = (options) => {
  const api = platform.globals[name];
  return (api.request || api.httpRequest)(options);
};

let tracker;
let tags;
let unload;
const unhandled = [];
process.on('unhandledRejection', (reason) => unhandled.push(reason));

const commands = {
  tracker: (options) => {
    tags = options.tags;
    tracker = new Tracker({ ...options, installUnloadHook: (hook) => { unload = hook; } });
  },
  call: (method, values) => { tracker[method](...values); },
  tag: (key, value) => { tags[key] = value; },
  /** Makes the tracker by an app's own file, which exports a function that returns it. */
  app: async (file, ...values) => { tracker = await require(file)(...values); },
  unload: () => { unload(); },
  control: (control) => { platform.controls[control](); },

  /** One request of the app itself; the answer is what the app is told. */
  request: ({ abortWhenSent, ...options }) => new Promise((resolve) => {
    const asked = {
      ...options,
      success: (result) => resolve({ kind: 'success', result }),
      fail: (result) => resolve({ kind: 'fail', result }),
    };
    const task = request(asked);
    if (abortWhenSent) {
      platform.wire.once('sent', () => task.abort());
    }
  }),

  /** So many requests at once; the answer is how many are open and how many wait. */
  burst: (count, options) => {
    for (let n = 0; n < count; n += 1) {
      request({ ...options, fail: () => {} });
    }
    return { open: platform.wire.open.size, waiting: platform.wire.waiting.length };
  },

  /** Waits until nothing is open or waiting; the answer is what the app was told since the start. */
  idle: () => new Promise((resolve) => {
    const look = () => {
      if (platform.wire.open.size + platform.wire.waiting.length > 0) {
        realSetTimeout(look, 5);
      } else {
        realSetTimeout(() => resolve(platform.wire.told), 5);
      }
    };
    look();
  }),

  told: () => platform.wire.told,
  unhandled: () => unhandled,
};

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { number, do: operation, with: values } = JSON.parse(line);
  let answer;
  try {
    answer = { number, result: await commands[operation](...values) };
  } catch (error) {
    answer = { number, error: error.stack || JSON.stringify(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}).on('close', () => process.exit(0));
