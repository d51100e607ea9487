'use strict';
// Opens the page in headless Chromium and plays one scenario. The job comes as a line of JSON on
// standard input; what the page saw, and the types of its requests, go to standard output.
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

  /** A fetch by the page's own code; the answer is what the page can read. */
  async fetch({ page, job }) {
    return page.evaluate(async ({ url, headers, body }) => {
      const answer = await fetch(url, { method: 'POST', headers, body });
      return { status: answer.status, headers: Object.fromEntries(answer.headers), text: await answer.text() };
    }, job.fetch);
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

/** Plays the scenario, prints what came of it, and leaves the browser open until standard input ends. */
async function main() {
  const input = createInterface({ input: process.stdin });
  const job = JSON.parse(await new Promise((resolve) => input.once('line', resolve)));
  const ended = new Promise((resolve) => input.once('close', resolve));
  const browser = await chromium.launch({ executablePath: job.chromium, args: FLAGS });
  try {
    const context = await browser.newContext();
    const page = await context.newPage();
    const types = [];
    page.on('request', (request) => {
      if (!request.url().startsWith(job.page)) {
        types.push(request.resourceType());
      }
    });
    await page.goto(job.page);
    const result = await scenarios[job.scenario]({ page, job });
    console.log(JSON.stringify({ result, types }));
    await ended;
  } finally {
    await browser.close();
  }
}

main();
