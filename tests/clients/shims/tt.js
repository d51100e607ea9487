'use strict';
// Douyin's tt.request.

const { Lifecycle } = require('./lifecycle');
const { Wire, jsonOrText } = require('./wire');

/**
 * @param switches `cookieStore`: the app has switched the cookie store on;
 *   `graceMs`: time until requests are refused after hiding
 */
function tt(port, switches) {
  const lifecycle = new Lifecycle(switches.graceMs);
  let refusing = false;
  const wire = new Wire(port, lifecycle, {
    headerOptions: ['header'],
    contentType: () => 'application/json',
    forced: () => ({
      Referer: 'https://tmaservice.developer.toutiao.com/?appid=tt0123456789abcdef&version=1.0.0',
      'User-Agent': 'Mozilla/5.0 (Linux; Android 14) aweme/30.0.0 ToutiaoMicroApp/3.20.0 PluginVersion/1',
    }),
    timeoutMs: 60_000,
    maxTimeoutMs: 60_000,
    cookies: Boolean(switches.cookieStore),
    refusal: () => (refusing ? { errMsg: 'request:fail app in background' } : undefined),
    outcome: ({ status, headers, text }) => ({
      success: {
        data: jsonOrText(text),
        statusCode: status,
        header: { ...headers, 'set-cookie': (headers['set-cookie'] || []).join(',') },
        errMsg: 'request:ok',
      },
    }),
    failure: (cause) => ({ errMsg: `request:fail ${cause}` }),
  });
  const controls = {
    hide: () => lifecycle.hide(() => { refusing = true; }),
    show: () => {
      refusing = false;
      lifecycle.show();
    },
  };
  return { globals: { tt: { request: wire.request } }, wire, lifecycle, controls };
}

module.exports = { tt };
