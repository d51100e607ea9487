'use strict';
// Foreground and background of a mini program. While the app is frozen, callbacks and timers wait;
// they run, in order, when it is shown again.

const realSetTimeout = globalThis.setTimeout;
const realClearTimeout = globalThis.clearTimeout;

class Lifecycle {
  /** @param graceMs time from hiding to `onGraceOver`, 5 s on phones */
  constructor(graceMs = 5000) {
    this.hidden = false;
    this.frozen = false;
    this._graceMs = graceMs;
    this._graceOver = null;
    this._held = [];
  }

  /** Runs the task now, or when the app is shown again. */
  run(task) {
    if (this.frozen) {
      this._held.push(task);
    } else {
      task();
    }
  }

  /** Hides the app; `onGraceOver` is called if it is still hidden after the grace. */
  hide(onGraceOver) {
    this.hidden = true;
    this._graceOver = realSetTimeout(onGraceOver, this._graceMs);
  }

  /** Stops callbacks and timers of the app. */
  freeze() {
    this.frozen = true;
  }

  show() {
    realClearTimeout(this._graceOver);
    this.hidden = false;
    this.frozen = false;
    this._held.splice(0).forEach((task) => task());
  }

  /** Puts the timers of the app under this lifecycle. */
  takeOverTimers() {
    globalThis.setTimeout = (callback, ms, ...values) =>
      realSetTimeout(() => this.run(() => callback(...values)), ms);
  }
}

module.exports = { Lifecycle, realSetTimeout, realClearTimeout };
