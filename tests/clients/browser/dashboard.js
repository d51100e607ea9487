'use strict';
// Uses the dashboard in headless Chromium as people do: by clicks and keys. A job comes as JSON on
// standard input; what was seen goes to standard output as JSON. Every error on the console, and every
// request to another origin, is told as well.

const { createServer } = require('node:http');
const { mkdirSync, readFileSync } = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { chromium } = require('playwright-core');

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const WAIT = { timeout: 20000 };

/** Sends events as a client does; returns the status. */
async function send(job, logstore, token, events = [{ event: 'click', page: '/home', email: 'someone@example.com' }]) {
  const headers = { 'x-log-project': job.project };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(`${job.ingest}/logstores/${logstore}/track`, { method: 'POST', headers, body: JSON.stringify({ __topic__: 'web', __logs__: events }) });
  await answer.arrayBuffer();
  return answer.status;
}

/** Keeps sending, so that numbers move, until it is told to stop. */
function keepSending(job) {
  let going = true;
  const sending = (async () => {
    while (going) {
      await send(job, job.open, null);
      await send(job, job.guarded, null);
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
  })();
  return async () => { going = false; await sending; };
}

/** Serves one page with a frame from an origin of its own; returns the origin and how to end it. */
async function portal(frame) {
  const server = createServer((request, answer) => {
    answer.setHeader('content-type', 'text/html; charset=utf-8');
    answer.end(request.url === '/' ? `<!doctype html><html lang="en"><title>portal</title><h1>Portal</h1>${frame()}</html>` : '');
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return { origin: `http://portal.localhost:${server.address().port}`, close: () => server.close() };
}

/** Stands between browsers and the node, and can fall silent on the connections that it has. */
async function relay(to) {
  const pairs = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(Number(new URL(to).port), '127.0.0.1');
    const pair = { silent: false };
    pairs.add(pair);
    near.on('data', (data) => far.write(data));
    far.on('data', (data) => { if (!pair.silent) near.write(data); });
    for (const [one, other] of [[near, far], [far, near]]) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    hush: () => pairs.forEach((pair) => { pair.silent = true; }),
    close: () => server.close(),
  };
}

class Desk {
  constructor(job, browser) {
    this.job = job;
    this.browser = browser;
    this.faults = [];
    this.elsewhere = [];
  }

  /** A page of a browser that has seen nothing yet. */
  async page(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 900 }, locale: 'en-GB', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(WAIT.timeout);
    page.on('console', (message) => { if (message.type() === 'error') this.faults.push(message.text()); });
    page.on('pageerror', (error) => this.faults.push(String(error)));
    page.on('request', (request) => {
      const { origin, protocol } = new URL(request.url());
      if (origin !== this.job.admin && !protocol.startsWith('data') && !origin.includes('portal.localhost')) this.elsewhere.push(request.url());
    });
    return page;
  }

  async login(page, token = this.job.token) {
    await page.goto(`${this.job.admin}/`);
    await page.getByLabel(/Admin token|管理令牌/).fill(token);
    await page.getByRole('button', { name: /^(Log in|登录)$/ }).click();
  }

  async loggedIn(options) {
    const page = await this.page(options);
    await this.login(page);
    await page.locator('#link.good').waitFor(WAIT);
    return page;
  }

  async picture(page, name, options = {}) {
    if (!this.job.pictures) return;
    mkdirSync(this.job.pictures, { recursive: true });
    await page.screenshot({ path: path.join(this.job.pictures, `${name}.png`), fullPage: true, ...options });
  }

  /** What axe-core finds, by how bad it is. */
  async axe(page) {
    const client = await page.context().newCDPSession(page);
    // The policy of the page lets no script of others in, so it is given to the browser and not to the page.
    await client.send('Runtime.evaluate', { expression: AXE });
    const said = await client.send('Runtime.evaluate', { expression: "axe.run(document, { resultTypes: ['violations'] }).then((it) => JSON.stringify(it.violations.map((v) => ({ id: v.id, impact: v.impact, nodes: v.nodes.map((n) => n.html.slice(0, 200)) }))))", awaitPromise: true, returnByValue: true });
    return JSON.parse(said.result.value);
  }

  /** Makes a link by the dialog; returns it and the code of the frame. */
  async share(page, fill = async () => {}) {
    await page.getByRole('button', { name: 'Share' }).click();
    await fill(page);
    await page.getByRole('button', { name: 'Make the link' }).click();
    const link = page.getByLabel('Link', { exact: true });
    await link.waitFor(WAIT);
    const made = { link: await link.inputValue(), frame: await page.getByLabel('To show it in a page').inputValue() };
    await page.getByRole('button', { name: 'Close' }).click();
    return made;
  }
}

const more = async (page) => { await page.getByText('More limits').click(); };
const settle = (page, ms) => page.waitForTimeout(ms);

/** Waits until so many events are shown: the list is read when asked for, and a batch takes its time to the store. */
const eventsStored = (page, count) => page.waitForFunction((least) => {
  const found = document.querySelectorAll('#event-rows summary').length >= least;
  const again = document.getElementById('events-again');
  if (!found && !again.disabled) again.click();
  return found;
}, count, { ...WAIT, polling: 500 });

const scenarios = {
  /** Logs in with a wrong token, then with the right one, and sees numbers move and refusals explained. */
  async live(desk) {
    const { job } = desk;
    const page = await desk.page();
    await desk.login(page, 'not-the-token-of-this-node-at-all');
    await page.locator('#login-fault:not(:empty)').waitFor(WAIT);
    const wrong = await page.locator('#login-fault').textContent();
    const expected = desk.faults.splice(0); // the browser itself tells of the 401
    await desk.login(page);
    await page.locator('#link.good').waitFor(WAIT);
    const before = await page.locator('#tiles dd').first().textContent();
    const stop = keepSending(job);
    await page.waitForFunction((old) => document.querySelector('#tiles dd').textContent !== old && document.querySelector('#tiles dd').textContent !== '0', before, WAIT);
    await page.locator('#refusal-rows summary').first().waitFor(WAIT);
    await page.locator('#refusal-rows summary').first().click();
    const refusal = await page.locator('#refusal-rows li').first().textContent();
    await settle(page, 6000);
    await desk.picture(page, 'desktop-light');
    const outcomes = await page.locator('#outcomes').textContent();
    const tiles = await page.locator('#tiles').textContent();
    const axe = await desk.axe(page);
    await page.getByRole('button', { name: 'Dark' }).click();
    await settle(page, 1500);
    await desk.picture(page, 'desktop-dark');
    const axeDark = await desk.axe(page);
    await stop();
    await page.reload();
    await page.locator('#link.good').waitFor(WAIT);
    const cookies = await page.context().cookies();
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('Admin token').waitFor(WAIT);
    await page.reload();
    const out = await page.getByLabel('Admin token').isVisible();
    return { wrong, expected, before, refusal, outcomes, tiles, axe, axeDark, cookies, out };
  },

  /** Events that were stored and set aside are shown, and found by their text. */
  async events(desk) {
    const { job } = desk;
    for (let index = 0; index < 5; index += 1) await send(job, job.open, null, [{ event: `needle-${index}`, page: '<b>bold</b>' }]);
    await send(job, job.checked, null, [{ event: 'pay', amount: 'much' }]);
    const page = await desk.loggedIn();
    const read = async () => {
      await page.locator('#events-which').selectOption(`${job.project}/${job.open}`);
      await page.getByRole('button', { name: 'Read' }).click();
      await page.getByRole('button', { name: 'Read' }).isEnabled();
    };
    await read();
    await eventsStored(page, 5);
    await page.getByLabel('Containing').fill('needle-3');
    const found = await page.locator('#event-rows summary').count();
    await page.locator('#event-rows summary').first().click();
    const event = await page.locator('#event-rows').textContent();
    await page.locator('#quarantine-which').selectOption(`${job.project}/${job.checked}`);
    await page.locator('#quarantine-rows summary').first().waitFor(WAIT);
    await page.locator('#quarantine-rows summary').first().click();
    const record = await page.locator('#quarantine-rows').textContent();
    await desk.picture(page, 'events');
    return { found, event, record, bold: await page.locator('#event-rows b').count() };
  },

  /** The language and the theme follow the browser, and are switched by their buttons. */
  async looks(desk) {
    const stop = keepSending(desk.job);
    const page = await desk.loggedIn({ locale: 'zh-CN', colorScheme: 'dark' });
    await settle(page, 5000);
    const chinese = await page.locator('#entering-title').textContent();
    const limit = await page.locator('#limit-cards').textContent();
    const lang = await page.locator('html').getAttribute('lang');
    const dark = await page.locator('html').getAttribute('data-theme');
    await page.locator('#refusal-rows summary').first().click();
    const refusal = await page.locator('#refusal-rows li').first().textContent();
    const stranger = await desk.page({ locale: 'zh-CN' });
    await desk.login(stranger, 'not-the-token-of-this-node-at-all');
    await stranger.locator('#login-fault:not(:empty)').waitFor(WAIT);
    const wrong = await stranger.locator('#login-fault').textContent();
    desk.faults.splice(0); // the browser itself tells of the 401
    await desk.picture(page, 'chinese-dark');
    const axe = await desk.axe(page);
    await page.getByRole('button', { name: '浅色' }).click();
    const light = await page.locator('html').getAttribute('data-theme');
    await page.getByRole('button', { name: 'English' }).click();
    const english = await page.locator('#entering-title').textContent();
    await page.reload();
    await page.locator('#link.good').waitFor(WAIT);
    const kept = [await page.locator('#entering-title').textContent(), await page.locator('html').getAttribute('data-theme')];
    await stop();
    return { chinese, limit, wrong, lang, dark, refusal, axe, light, english, kept };
  },

  /** On a phone nothing is wider than the screen, and everything can be reached. */
  async phone(desk) {
    const stop = keepSending(desk.job);
    const page = await desk.loggedIn({ viewport: { width: 375, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
    await settle(page, 5000);
    const width = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    const wide = await page.evaluate(() => [...document.querySelectorAll('body *')].filter((it) => it.getBoundingClientRect().right > window.innerWidth && !it.closest('.scroll, nav, dialog, .unseen, .skip')).map((it) => it.outerHTML.slice(0, 120)));
    const cut = await page.evaluate(() => ['outcomes', 'latency'].filter((id) => { const box = document.getElementById(id).closest('.scroll'); return box.scrollWidth > box.clientWidth; }));
    await desk.picture(page, 'phone');
    await page.getByRole('button', { name: 'Share' }).tap();
    await page.getByText('More limits').tap();
    const dialog = await page.evaluate(() => { const box = document.getElementById('share-dialog').getBoundingClientRect(); return [box.left, box.right]; });
    await desk.picture(page, 'phone-dialog', { fullPage: false });
    const axe = await desk.axe(page);
    await stop();
    return { width, wide, cut, dialog, axe };
  },

  /** From the way in to a link that is revoked, without a mouse. */
  async keyboard(desk) {
    const page = await desk.page();
    await page.goto(`${desk.job.admin}/`);
    await page.getByLabel('Admin token').waitFor(WAIT);
    await page.keyboard.type(desk.job.token); // the field has the focus
    await page.keyboard.press('Enter');
    await page.locator('#link.good').waitFor(WAIT);
    /** Presses Tab until the focus is where it is wanted; every stop must be seen. */
    const walk = async (wanted) => {
      for (let index = 0; index < 120; index += 1) {
        await page.keyboard.press('Tab');
        const here = await page.evaluate(() => {
          const now = document.activeElement;
          const style = getComputedStyle(now);
          return { id: now.id, text: now.textContent.trim(), ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 };
        });
        if (!here.ring && here.id !== '' && here.id !== 'main') throw new Error(`the focus on ${here.id} is not seen`);
        if (here.id === wanted || here.text === wanted) return index;
      }
      throw new Error(`the focus does not come to ${wanted}`);
    };
    await page.evaluate(() => { document.activeElement.blur(); });
    const skip = await walk('Skip to the content');
    await page.keyboard.press('Enter');
    const main = await page.evaluate(() => document.activeElement.id);
    await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); });
    await page.locator('.skip').focus();
    await walk('share');
    await page.keyboard.press('Enter');
    await walk('share-make');
    await page.keyboard.press('Enter');
    await page.locator('#share-made:not([hidden])').waitFor(WAIT);
    const link = await page.locator('#share-link').inputValue();
    await page.keyboard.press('Escape');
    const closed = await page.locator('#share-dialog').isHidden();
    const back = await page.evaluate(() => document.activeElement.id);
    const forgotten = await page.locator('#share-link').inputValue();
    page.on('dialog', (dialog) => dialog.accept());
    await page.locator('#links-again').focus();
    await walk('Revoke');
    await page.keyboard.press('Enter');
    await page.locator('#link-rows .pill.bad').first().waitFor(WAIT);
    return { skip, main, link: link.startsWith(`${desk.job.admin}/?embed=`), closed, back, forgotten };
  },

  /** A link is opened by others as often as it may be, shows only what it says, and ends when it is revoked. */
  async link(desk) {
    const { job } = desk;
    const stop = keepSending(job);
    await send(job, job.open, null, [{ event: 'needle', email: 'hidden@example.com', page: '/secret' }]);
    const page = await desk.loggedIn();
    await page.getByRole('button', { name: 'Share' }).click();
    await settle(page, 300);
    await desk.picture(page, 'share', { fullPage: false });
    await page.getByRole('button', { name: 'Close' }).click();
    const { link } = await desk.share(page, async () => {
      await page.getByRole('checkbox', { name: job.guarded }).uncheck();
      await page.getByRole('checkbox', { name: job.checked }).uncheck();
      await page.getByLabel('Shows events of').selectOption({ label: 'The last hour' });
      await more(page);
      await page.getByLabel(/How often/).fill('2');
      await page.getByLabel('Fields that are not shown').fill('email');
      await page.getByLabel('Note').fill('for the partner');
    });
    const guest = await desk.page();
    const asked = [];
    guest.on('request', (request) => asked.push(request.url()));
    await guest.goto(link);
    await guest.locator('#link.good').waitFor(WAIT);
    await settle(guest, 2500);
    const address = guest.url();
    const numbers = await guest.locator('#logstore-rows').textContent();
    await eventsStored(guest, 1);
    const events = await guest.locator('#event-rows').innerHTML();
    const options = await guest.locator('#events-which option').allTextContents();
    const sees = await guest.evaluate(() => ['share', 'limits', 'node', 'links'].filter((id) => document.getElementById(id).offsetParent !== null));
    const scope = await guest.locator('#scope').textContent();
    await desk.picture(guest, 'link');
    const axe = await desk.axe(guest);
    await guest.reload(); // the session of this tab, and no second use
    await guest.locator('#link.good').waitFor(WAIT);
    const second = await desk.page();
    await second.goto(link);
    await second.locator('#link.good').waitFor(WAIT);
    const third = await desk.page();
    await third.goto(link);
    await third.locator('#login-fault:not(:empty)').waitFor(WAIT);
    const usedUp = await third.locator('#login-fault').textContent();
    const form = await third.locator('#login-form').isVisible();
    await page.getByRole('button', { name: 'Refresh' }).last().click();
    await page.getByText('used up').first().waitFor(WAIT);
    const listed = await page.locator('#link-rows').textContent();
    const other = await desk.share(page);
    const shown = await desk.page();
    await shown.goto(other.link);
    await shown.locator('#link.good').waitFor(WAIT);
    page.on('dialog', (dialog) => dialog.accept());
    await page.getByRole('button', { name: /^Revoke/ }).first().click();
    await shown.locator('#login-fault:not(:empty)').waitFor(WAIT);
    const revoked = await shown.locator('#login-fault').textContent();
    await stop();
    const expected = desk.faults.splice(0);
    return { address, asked: asked.filter((url) => url.includes('eyJ')), numbers, events, options, sees, scope, axe, usedUp, form, listed, revoked, expected };
  },

  /** In a frame of a page that is named, without its bar, without a cookie and without a redirect; nowhere else. */
  async frame(desk) {
    const { job } = desk;
    const stop = keepSending(job);
    let code = '';
    const allowed = await portal(() => code);
    const denied = await portal(() => code);
    const page = await desk.loggedIn();
    const made = await desk.share(page, async () => {
      await more(page);
      await page.getByLabel('Only in frames of these pages').fill(allowed.origin);
    });
    code = made.frame;
    // As in a browser that blocks cookies of third parties: none must be asked for.
    const guest = await desk.page();
    const redirects = [];
    guest.on('response', (response) => { if (response.status() >= 300 && response.status() < 400 && response.status() !== 304) redirects.push(response.url()); });
    await guest.goto(`${allowed.origin}/`);
    const frame = guest.frameLocator('iframe');
    await frame.locator('#tiles dd').first().waitFor(WAIT);
    await settle(guest, 4000);
    const bar = await frame.locator('#topbar').isVisible();
    const tiles = await frame.locator('#tiles').textContent();
    const cookies = await guest.context().cookies();
    await desk.picture(guest, 'frame');
    const faults = desk.faults.splice(0);
    const other = await desk.page();
    await other.goto(`${denied.origin}/`);
    await settle(other, 1500);
    const blocked = other.frames().slice(1).map((it) => it.url());
    const refusedFrame = desk.faults.splice(0).some((text) => text.includes('frame-ancestors'));
    const alone = await desk.page();
    await alone.goto(made.link);
    await alone.locator('#login-fault:not(:empty)').waitFor(WAIT);
    const outside = await alone.locator('#login-fault').textContent();
    desk.faults.splice(0);
    await stop();
    allowed.close();
    denied.close();
    return { bar, tiles, cookies, redirects, faults, blocked, refusedFrame, outside };
  },

  /** A link that ends while it is open says so; one for named accounts asks for a proof. */
  async ends(desk) {
    const { job } = desk;
    const short = await desk.page();
    await short.goto(`${job.admin}/#ticket=${job.shortTicket}`);
    await short.locator('#link.good').waitFor(WAIT);
    await short.locator('#login-fault:not(:empty)').waitFor(WAIT);
    const ended = await short.locator('#login-fault').textContent();
    const again = await desk.page();
    await again.goto(`${job.admin}/?ticket=${job.shortTicket}`);
    await again.locator('#login-fault:not(:empty)').waitFor(WAIT);
    const expired = await again.locator('#login-fault').textContent();
    const address = again.url();
    const named = await desk.page();
    await named.goto(`${job.admin}/#ticket=${job.accountTicket}`);
    await named.getByLabel('Token of your account').waitFor(WAIT);
    const asked = await named.locator('#login-fault').textContent();
    await named.getByLabel('Token of your account').fill(job.accountToken);
    await named.getByRole('button', { name: 'Open' }).click();
    await named.locator('#link.good').waitFor(WAIT);
    desk.faults.splice(0);
    return { ended, expired, address, asked };
  },

  /** A guest's session is lost: the page opens its link once more, as often as that may be; a page that was loaded again does not know it. */
  async lost(desk) {
    const { job } = desk;
    const page = await desk.loggedIn();
    const { link } = await desk.share(page, async () => {
      await more(page);
      await page.getByLabel(/How often/).fill('2');
    });
    const guest = await desk.page();
    await guest.goto(link);
    await guest.locator('#link.good').waitFor(WAIT);
    const held = () => guest.evaluate(() => sessionStorage.getItem('tollgate.session'));
    const lose = async () => {
      const bearer = await held();
      const answer = await fetch(`${job.admin}/api/v1/dashboard/session`, { method: 'DELETE', headers: { authorization: `Bearer ${bearer}` } });
      await answer.arrayBuffer();
      return bearer;
    };
    const first = await lose();
    await guest.waitForFunction((old) => ![old, null].includes(sessionStorage.getItem('tollgate.session')), first, WAIT);
    await guest.locator('#link.good').waitFor(WAIT);
    await guest.locator('#tiles dd').first().waitFor(WAIT);
    const asked = await guest.locator('#login').isVisible();
    await guest.reload();
    await guest.locator('#link.good').waitFor(WAIT);
    await lose();
    await guest.locator('#login-fault:not(:empty)').waitFor(WAIT);
    const again = await guest.locator('#login-fault').textContent();
    await desk.picture(guest, 'open-again');
    const third = await desk.page();
    await third.goto(link);
    await third.locator('#login-fault:not(:empty)').waitFor(WAIT);
    const usedUp = await third.locator('#login-fault').textContent();
    desk.faults.splice(0);
    return { asked, again, usedUp };
  },

  /** A connection over which nothing comes any more is given up. */
  async silence(desk) {
    const between = await relay(desk.job.admin);
    desk.job = { ...desk.job, admin: between.origin };
    const page = await desk.loggedIn();
    await page.waitForFunction(() => document.querySelector('#tiles dd'), null, WAIT);
    const opened = [];
    page.on('request', (request) => { if (request.url().endsWith('/live')) opened.push(request.url()); });
    between.hush();
    await page.locator('#link.bad').waitFor(WAIT);
    const told = await page.locator('#link').textContent();
    await page.locator('#link.good').waitFor(WAIT);
    desk.faults.splice(0);
    between.close();
    return { told, opened: opened.length };
  },

  /** A logstore that goes to files: its events are said to be elsewhere, and it can be shared. */
  async cold(desk) {
    const page = await desk.loggedIn();
    await page.locator('#event-rows li').first().waitFor(WAIT);
    const events = await page.locator('#event-rows').textContent();
    const fault = await page.locator('#events-fault').textContent();
    const options = await page.locator('#quarantine-which option').allTextContents();
    await page.getByRole('button', { name: 'Share' }).click();
    const boxes = await page.locator('#share-logstores label').allTextContents();
    await settle(page, 300);
    await desk.picture(page, 'cold-share', { fullPage: false });
    await page.getByRole('button', { name: 'Close' }).click();
    const { link } = await desk.share(page);
    await desk.picture(page, 'cold');
    const guest = await desk.page();
    await guest.goto(link);
    await guest.locator('#link.good').waitFor(WAIT);
    const shown = await guest.locator('#which option').allTextContents();
    await guest.locator('#event-rows li').first().waitFor(WAIT);
    desk.faults.splice(0);
    return { events, fault, options, boxes, shown };
  },

  /** The page opens by the certificate that the browser shows, without the token; and not without one. */
  async certificate(desk) {
    const { job } = desk;
    const of = (name) => ({
      ignoreHTTPSErrors: true,
      clientCertificates: [{ origin: job.admin, certPath: `${job.folder}/${name}.pem`, keyPath: `${job.folder}/${name}.key` }],
    });
    const seen = {};
    for (const name of ['look', 'boss']) {
      const page = await desk.page(of(name));
      await page.goto(`${job.admin}/`);
      await page.locator('#link.good').waitFor(WAIT);
      seen[name] = {
        login: await page.locator('#login').isVisible(),
        share: await page.locator('#share').isVisible(),
        links: await page.locator('#links').isVisible(),
        node: await page.locator('#node').isVisible(),
      };
      await desk.picture(page, `certificate-${name}`);
      await page.getByRole('button', { name: 'Log out' }).click();
      await page.getByLabel('Admin token').waitFor(WAIT);
      seen[name].out = true;
    }
    const bare = await desk.page({ ignoreHTTPSErrors: true });
    await bare.goto(`${job.admin}/`);
    await bare.getByLabel('Admin token').waitFor(WAIT);
    await desk.login(bare);
    await bare.locator('#link.good').waitFor(WAIT);
    const expected = desk.faults.splice(0);
    return { ...seen, expected };
  },

  /** How long it takes until the first numbers are seen, in milliseconds, for people: nothing is asserted. */
  async first(desk) {
    const page = await desk.loggedIn();
    const times = [];
    for (let index = 0; index < 5; index += 1) {
      const start = performance.now();
      await page.reload();
      await page.locator('#tiles dd').first().waitFor(WAIT);
      times.push(Math.round(performance.now() - start));
    }
    return { times };
  },

  /** Holds so many pages open for so long, while somebody measures the process. */
  async crowd(desk) {
    const pages = [];
    for (let index = 0; index < desk.job.pages; index += 1) pages.push(await desk.loggedIn());
    await settle(pages[0], desk.job.hold);
    return { pages: pages.length };
  },
};

async function main() {
  let text = '';
  for await (const part of process.stdin) text += part;
  const job = JSON.parse(text);
  const browser = await chromium.launch({ executablePath: job.chromium, args: FLAGS });
  try {
    const desk = new Desk(job, browser);
    const result = await scenarios[job.scenario](desk);
    console.log(JSON.stringify({ ...result, faults: [...(result.faults ?? []), ...desk.faults], elsewhere: desk.elsewhere }));
  } finally {
    await browser.close();
  }
}

main().catch((error) => { console.error(error); process.exit(1); });
