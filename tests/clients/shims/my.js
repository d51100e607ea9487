'use strict';
// Alipay's my.request, and DingTalk's dd.httpRequest, which descends from Alipay's older my.httpRequest.

const { Lifecycle } = require('./lifecycle');
const { Wire, jsonOrText } = require('./wire');

const ALIPAY_CAUSES = { timeout: 13, network: 12, abort: 9 };

function alipayFailure(cause) {
  return { error: ALIPAY_CAUSES[cause], errorMessage: cause };
}

/** The answer's data; `failed` when an old base library cannot parse it. */
function readData(text, dataType, oldBaseLibrary) {
  const data = dataType === 'text' ? text : jsonOrText(text);
  const failed = oldBaseLibrary && dataType !== 'text' && data === text;
  return { data, failed };
}

/**
 * @param switches `baseLib`: 'old' for base libraries before 2.9.5, which fail on an answer that is no JSON;
 *   `refererBytes`: length of the Referer, which holds the page's query;
 *   `statusMode`: 'docs' to report every status as success, as one page of the documentation has it
 */
function my(port, switches) {
  const lifecycle = new Lifecycle();
  const appid = '2021000000000000';
  const page = `https://${appid}.hybrid.alipay-eco.com/${appid}/0.2.2211111111.1/index.html#pages/index/index?from=`;
  const wire = new Wire(port, lifecycle, {
    headerOptions: ['headers', 'header'],
    contentType: () => 'application/json',
    forced: () => ({ Referer: page.padEnd(switches.refererBytes || page.length, 'q') }),
    timeoutMs: 30_000,
    maxTimeoutMs: 60_000,
    cookies: true,
    promises: true,
    outcome: ({ status, headers, text }, options) => {
      const { data, failed } = readData(text, options.dataType, switches.baseLib === 'old');
      if (status !== 200 && switches.statusMode !== 'docs') {
        return { fail: { error: 19, errorMessage: 'http status error', status, data, headers } };
      }
      if (failed) {
        return { fail: { error: 14, errorMessage: 'JSON parse data error' } };
      }
      return { success: { data, status, headers, statusCode: status, header: headers } };
    },
    failure: alipayFailure,
  });
  return { globals: { my: { request: wire.request } }, wire, lifecycle, controls: {} };
}

/**
 * @param switches `ios`: what an iPhone tells of an error; `referer`: a Referer to send, none is known;
 *   `encodeString`: the whole text percent-encoded, which may be what the form default does
 */
function dd(port, switches) {
  const lifecycle = new Lifecycle();
  const wire = new Wire(port, lifecycle, {
    headerOptions: ['headers'],
    contentType: () => 'application/x-www-form-urlencoded',
    forced: () => (switches.referer ? { Referer: switches.referer } : {}),
    timeoutMs: 30_000,
    url: (url) => (new URL(url).search ? `${url}&` : url),
    encode: (text) => (switches.encodeString ? encodeURIComponent(text) : text),
    refusal: ({ headers = {}, data }) => {
      const type = Object.entries(headers).find(([name]) => name.toLowerCase() === 'content-type')?.[1];
      return /json/i.test(type || '') && data !== undefined && typeof data !== 'string'
        ? { error: 2, errorMessage: 'data must be a string' }
        : undefined;
    },
    outcome: ({ status, headers, text }, options) => {
      if (status !== 200) {
        return {
          fail: switches.ios
            ? { errMsg: 'request:fail Parse response, http request server error', statusCode: status, header: headers }
            : { error: 19, errMsg: 'request:fail http status error' },
        };
      }
      const { data, failed } = readData(text, options.dataType, true);
      return failed
        ? { fail: { error: 14, errorMessage: 'JSON parse data error' } }
        : { success: { data, status, headers } };
    },
    failure: alipayFailure,
  });
  const api = { httpRequest: wire.request };
  return { globals: { dd: api, my: api }, wire, lifecycle, controls: {} }; // a phone has both
}

module.exports = { my, dd };
