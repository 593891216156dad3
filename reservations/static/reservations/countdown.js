// @ts-check
/** Show the time that a hold has left, by the server's clock: a ring, a number, a warning, an end. */

import { serverNow } from "../sessions_app/api.js";
import { count } from "../sessions_app/words.js";

const WARN_AT = 10;

export class Countdown {
  #timer = 0;
  #end = 0;
  #whole = 1;
  #warned = false;

  /** @param {HTMLElement} root @param {{warn: (seconds: number) => void, over: () => void}} tell */
  constructor(root, tell) {
    this.root = root;
    this.tell = tell;
    this.number = /** @type {HTMLElement} */ (root.querySelector("[data-seconds]"));
    this.ring = /** @type {SVGCircleElement} */ (root.querySelector(".ring-left"));
  }

  /** Run until `end`, in milliseconds of the server's clock. @param {number} end */
  run(end) {
    if (end !== this.#end) {
      const left = end - serverNow();
      this.#warned = false;
      this.#whole = Math.max(1, left, end - this.#end < this.#whole ? this.#whole : left);
    }
    this.#end = end;
    this.stop();
    this.#tick();
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #tick() {
    const left = Math.max(0, this.#end - serverNow());
    const seconds = Math.ceil(left / 1000);
    const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    this.number.textContent = seconds < 60 ? String(seconds) : clock;
    this.root.setAttribute("aria-label", count("seconds-left", seconds));
    this.root.toggleAttribute("data-hurry", seconds <= WARN_AT);
    this.ring.style.strokeDashoffset = String(100 - (100 * left) / this.#whole);
    if (seconds <= WARN_AT && !this.#warned && seconds > 0) {
      this.#warned = true;
      this.tell.warn(seconds);
    }
    if (left > 0) this.#timer = setTimeout(() => this.#tick(), left % 1000 || 1000);
    else this.tell.over();
  }
}
