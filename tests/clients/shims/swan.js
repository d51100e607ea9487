'use strict';
// Baidu's swan.request.

const { Lifecycle } = require('./lifecycle');
const { Wire, jsonOrText } = require('./wire');

/** @param switches `ios`: the limits of iOS instead of Android's */
function swan(port, switches) {
  const lifecycle = new Lifecycle();
  const wire = new Wire(port, lifecycle, {
    headerOptions: ['header'],
    contentType: () => 'application/json',
    forced: () => ({ Referer: 'https://smartapps.cn/0123456789abcdefghijklmnopqrstuv/1.0.0/page-frame.html' }),
    parallel: switches.ios ? 6 : 64,
    agent: { maxSockets: switches.ios ? 6 : 5 },
    timeoutMs: 60_000,
    maxTimeoutMs: 60_000,
    refusal: (_options, url) => (new URL(url).port ? { errCode: 202, errMsg: 'url has a port' } : undefined),
    outcome: ({ status, headers, text }) => ({
      success: { data: jsonOrText(text), statusCode: status, header: headers },
    }),
    failure: (cause) => ({ errCode: 1001, errMsg: `request:fail ${cause}` }),
  });
  return { globals: { swan: { request: wire.request } }, wire, lifecycle, controls: {} };
}

module.exports = { swan };
