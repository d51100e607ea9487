'use strict';
// What the test's page does with the SDK and its STS plugin, as their documentation has it. It runs
// in Chromium and, with stand-ins for what a browser has, in Node.js (node/page.js).

(function openPage(window) {
  const seen = [];
  let refreshes = 0;
  let tracker;

  // Listens in on the requests of the unpatched SDK: what a page can read of their answers.
  const Request = window.XMLHttpRequest;
  window.XMLHttpRequest = class extends Request {
    send(body) {
      this.addEventListener('loadend', () => seen.push({ status: this.status, text: this.responseText }));
      super.send(body);
    }
  };

  const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

  /** Temporary credentials from where the job says: as they stand there, or by fetch. */
  async function obtain({ credentials, url, ...init }) {
    if (credentials) {
      return credentials;
    }
    const answer = await fetch(url, init);
    const body = await answer.json();
    if (!answer.ok) {
      throw new Error(`${answer.status} ${body.reason}`);
    }
    return body;
  }

  window.page = {
    /** Makes a tracker with the plugin. `delay`: milliseconds until the first credentials are there. */
    open({ tracker: options, source, delay = 0, interval }) {
      const sts = {
        accessKeyId: '',
        accessKeySecret: '',
        securityToken: '',
        refreshSTSTokenInterval: interval,
        async refreshSTSToken() {
          refreshes += 1;
          await pause(delay);
          const fresh = await obtain(source);
          sts.accessKeyId = fresh.AccessKeyId;
          sts.accessKeySecret = fresh.AccessKeySecret;
          sts.securityToken = fresh.SecurityToken;
        },
      };
      tracker = new window.SLS_Tracker(options);
      tracker.useStsPlugin(window.stsPlugin(sts));
    },

    /** Sends each event in a request of its own, and waits until so many more are answered. */
    async send({ events, answers = events.length }) {
      const before = seen.length;
      events.forEach((event) => tracker.sendImmediate(event));
      while (seen.length < before + answers) {
        await pause(5);
      }
      return seen.slice(before);
    },

    /** How often the plugin asked for credentials. */
    refreshes: () => refreshes,
  };
})(globalThis);
