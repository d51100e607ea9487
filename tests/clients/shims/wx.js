'use strict';
// WeChat's wx.request, and QQ's qq.request, which follows it nearly word for word.

const { Lifecycle } = require('./lifecycle');
const { Wire, jsonOrText } = require('./wire');

const IPHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148';

const WECHAT = {
  name: 'wx',
  referer: 'https://servicewechat.com/wx0123456789abcdef/12/page-frame.html',
  userAgent: `${IPHONE} MicroMessenger/8.0.50(0x1800323b) NetType/WIFI Language/zh_CN`,
};
const QQ = {
  name: 'qq',
  referer: 'https://appservice.qq.com/1100000000/1.0.0/page-frame.html',
  userAgent: `${IPHONE} QQ/9.0.0.0 NetType/WIFI`,
};

/**
 * @param switches `hosts`: the configured domains, left out for all;
 *   `lowLevelRetry`: each POST goes out twice, as the network layer below the API may do;
 *   `graceMs`: time until the app freezes after hiding
 */
function likeWeChat({ name, referer, userAgent }, port, switches) {
  const lifecycle = new Lifecycle(switches.graceMs);
  const wire = new Wire(port, lifecycle, {
    headerOptions: ['header'],
    contentType: () => 'application/json',
    forced: () => ({ Referer: referer, 'User-Agent': userAgent }),
    parallel: 10,
    timeoutMs: 60_000,
    refusal: (_options, url) =>
      switches.hosts && !switches.hosts.includes(new URL(url).host)
        ? { errno: 600002, errMsg: 'request:fail url not in domain list' }
        : undefined,
    outcome: ({ status, headers, text }) => ({
      success: {
        data: jsonOrText(text),
        statusCode: status,
        header: headers,
        cookies: headers['set-cookie'] || [],
        errMsg: 'request:ok',
      },
    }),
    failure: (cause) => ({
      errMsg: { timeout: 'request:fail timeout', abort: 'request:fail abort', network: 'request:fail' }[cause],
    }),
  });

  const request = (options) => {
    const task = wire.request(options);
    if (switches.lowLevelRetry && options.method === 'POST') {
      wire.request({ ...options, success: undefined, fail: undefined, complete: undefined });
    }
    return task;
  };

  const controls = {
    hide: () => lifecycle.hide(() => {
      lifecycle.freeze();
      wire.failAll({ errMsg: 'request:fail interrupted' });
    }),
    show: () => lifecycle.show(),
    networkChange: () =>
      wire.failAll({ errno: 600001, errMsg: 'request:fail network change, cancel all task' }),
  };
  return { globals: { [name]: { request } }, wire, lifecycle, controls };
}

module.exports = {
  wx: (port, switches) => likeWeChat(WECHAT, port, switches),
  qq: (port, switches) => likeWeChat(QQ, port, switches),
};
