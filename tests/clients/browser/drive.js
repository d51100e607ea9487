'use strict';
// Opens the page in headless Chromium and plays scenarios in it, one after another. A job comes as a
// line of JSON on standard input; what the page saw, and the types of its requests, go to standard
// output.
//
// The page is served from one origin, the edge is another: every request is cross-origin.

const { createInterface } = require('node:readline');
const { chromium } = require('playwright-core');

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

const makeTracker = ({ tracker, events }) => {
  window.tracker = new window.SLS_Tracker(tracker);
  return events;
};

const scenarios = {
  /** Each event in a request of its own. */
  async immediate({ page, job }) {
    await page.evaluate(makeTracker, job);
    await page.evaluate((events) => events.forEach((event) => window.tracker.sendImmediate(event)), job.events);
  },

  /** All events in one request. */
  async batch({ page, job }) {
    await page.evaluate(makeTracker, job);
    await page.evaluate((events) => window.tracker.sendBatchLogsImmediate(events), job.events);
  },

  /** Events that are still in the queue of the SDK when the page is left for another. */
  async navigate({ page, job }) {
    await page.evaluate(makeTracker, job);
    await page.evaluate((events) => events.forEach((event) => window.tracker.send(event)), job.events);
    await page.goto(`${job.page}?next`);
  },

  /** Events that are still in the queue of the SDK when the tab is closed. */
  async close({ page, job }) {
    await page.context().newPage(); // the browser stays open, as it does when one of several tabs is closed
    await page.evaluate(makeTracker, job);
    await page.evaluate((events) => events.forEach((event) => window.tracker.send(event)), job.events);
    await page.close({ runBeforeUnload: true });
  },

  /** A fetch by the page's own code; the answer is what the page can read, null where it can read nothing. */
  async fetch({ page, job }) {
    return page.evaluate(async ({ url, ...init }) => {
      const answer = await fetch(url, { method: 'POST', ...init }).catch(() => null);
      return answer && { status: answer.status, headers: Object.fromEntries(answer.headers), text: await answer.text() };
    }, job.fetch);
  },

  /** A call of what browser/page.js gives the page. */
  async page({ page, job }) {
    return page.evaluate(([operation, values]) => window.page[operation](...values), [job.operation, job.values]);
  },

  /** An image as in a page without scripts; the answer is its width. */
  async image({ page, job }) {
    return page.evaluate((url) => new Promise((resolve) => {
      const image = new Image();
      image.onload = () => resolve(image.naturalWidth);
      image.onerror = () => resolve(null);
      image.src = url;
    }), job.image);
  },
};

/** Opens the page; notes the types of its requests to others. */
async function open(browser, job, types) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.on('request', (request) => {
    if (!request.url().startsWith(job.page)) {
      types.push(request.resourceType());
    }
  });
  await page.goto(job.page);
  return page;
}

/** Plays each scenario, prints what came of it, and leaves the browser open until standard input ends. */
async function main() {
  let browser;
  let page;
  const types = [];
  try {
    for await (const line of createInterface({ input: process.stdin })) {
      const job = JSON.parse(line);
      browser ??= await chromium.launch({ executablePath: job.chromium, args: FLAGS });
      page ??= await open(browser, job, types);
      const result = await scenarios[job.scenario]({ page, job });
      console.log(JSON.stringify({ result, types: types.splice(0) }));
    }
  } finally {
    await browser?.close();
  }
}

main();
