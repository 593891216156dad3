// @ts-check
/** Show the waiting scans of this phone and their results, on every page of the gate. */

import { once } from "../sessions_app/api.js";
import { language, say, zone } from "../sessions_app/words.js";
import { shortOf, spelled } from "./gate-codes.js";
import { Scans } from "./gate-scans.js";

/** @typedef {import("./gate-scans.js").Scan} Scan @typedef {import("./gate-scans.js").State} State */

const PATIENCE = 6_000; // milliseconds
const numbers = new Intl.NumberFormat(language);
const clock = new Intl.DateTimeFormat(language, { timeStyle: "short", timeZone: zone });
const dayAndClock = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short", timeZone: zone });
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeZone: zone });

/** Write a time of the house, with the day unless it is today. @param {string | number} at */
export function moment(at) {
  const date = new Date(at);
  return (day.format(date) === day.format(new Date()) ? clock : dayAndClock).format(date);
}

/** @param {string} id */
const one = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

export class Waiting extends EventTarget {
  scans = new Scans(localStorage);

  constructor() {
    super();
    addEventListener("storage", () => this.paint()); // changed by another page of this phone
    addEventListener("online", () => this.tell());
    one("quarrels-seen").addEventListener("click", () => {
      this.scans.forgetQuarrels();
      this.paint();
    });
    this.paint();
  }

  /** @returns {Promise<void>} */
  async tell() {
    const state = await this.scans.tell((scan) => this.#send(scan));
    if (state) this.#line(state);
    this.paint();
  }

  /** Report a scan. `anyway`, because it has happened, whatever the doors' times are now. @param {Scan} scan */
  async #send({ scan, session, code, gate, at, paid }) {
    const seconds_ago = Math.max(1, Math.round((Date.now() - at) / 1_000));
    const body = { code, gate, session, scan, seconds_ago, anyway: true, ...(paid && { paid }) };
    const answer = await once("POST", "/checkins", { body, timeout: PATIENCE });
    this.paint();
    return answer;
  }

  /** @param {State} state */
  #line(state) {
    this.dispatchEvent(new CustomEvent("line", { detail: state }));
  }

  paint() {
    const { waiting, quarrels, isKept } = this.scans;
    one("waiting").textContent = numbers.format(waiting.length);
    one("unkept").hidden = isKept;
    one("quarrels").hidden = !quarrels.length;
    one("quarrel-list").replaceChildren(
      ...quarrels.map(({ kind, show, code, seat, ours, theirs, gate, why, reason }) => {
        const words = reason ? say(`void-${reason}`) : (why ?? "");
        const facts = { code: spelled(shortOf(code)), seat, ours: moment(ours), theirs: moment(theirs ?? ours), gate: gate || "–", why: words };
        const item = document.createElement("li");
        item.textContent = [show, say(`quarrel-${kind}`, facts)].filter(Boolean).join(": ");
        return item;
      }),
    );
  }
}
