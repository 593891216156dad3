// @ts-check
/** Choose a number of unnumbered places of one type, within the places left and the buyer's limit. */

import { serverNow } from "./api.js";
import { count, say } from "./words.js";

const SAID_EVERY = 5_000; // milliseconds between announcements of numbers that go down by themselves

export class StockPicker extends EventTarget {
  /** @type {{type: string, quantity: number} | null} */ choice = null;
  #locked = false;
  /** The next announcement of each type. @type {Map<string, string>} */ #toSay = new Map();
  #timer = 0; // eslint-disable-line no-unused-private-class-members -- `||=` reads it

  /** @param {HTMLElement} root @param {number} most places a buyer may take @param {number} few places left that count as the last */
  constructor(root, most, few) {
    super();
    this.root = root;
    this.most = most;
    this.few = few;
    root.addEventListener("click", (event) => {
      const button = event.target instanceof Element ? event.target.closest("[data-step]") : null;
      const row = button?.closest("[data-stock]");
      if (button instanceof HTMLElement && row instanceof HTMLElement) this.#want(row, this.#quantity(row) + Number(button.dataset.step));
    });
    root.addEventListener("change", (event) => {
      const row = event.target instanceof HTMLInputElement ? event.target.closest("[data-stock]") : null;
      if (row instanceof HTMLElement) this.#want(row, Math.trunc(Number(this.#input(row).value)) || 0);
    });
    const chosen = this.#rows().find((row) => Number(this.#input(row).value) > 0);
    if (chosen) this.choice = { type: chosen.dataset.stock ?? "", quantity: Number(this.#input(chosen).value) };
    this.#paint();
    this.#watchTheClock();
  }

  /** Tell whether an order for more places than are left waits. */
  get #standby() {
    return "standby" in this.root.dataset;
  }

  #rows() {
    return /** @type {HTMLElement[]} */ ([...this.root.querySelectorAll("[data-stock]")]);
  }

  /** @param {HTMLElement} row */
  #input(row) {
    return /** @type {HTMLInputElement} */ (row.querySelector("input"));
  }

  /** @param {HTMLElement} row */
  #quantity(row) {
    return this.choice?.type === row.dataset.stock ? this.choice?.quantity ?? 0 : 0;
  }

  /** @param {HTMLElement} row */
  #highest(row) {
    const left = this.#standby ? Infinity : Number(row.dataset.available);
    return this.#sells(row) ? Math.max(0, Math.min(this.#limit(row), left)) : 0;
  }

  /** @param {HTMLElement} row */
  #limit(row) {
    return Math.min(this.most, Number(row.dataset.limit ?? this.most));
  }

  /** @param {HTMLElement} row */
  #sells({ dataset: { opens, closes } }) {
    const now = serverNow();
    return (!opens || Date.parse(opens) <= now) && (!closes || now < Date.parse(closes));
  }

  /** Open and close types at their times. */
  #watchTheClock() {
    const times = this.#rows().flatMap(({ dataset: { opens, closes } }) => [opens, closes].filter(Boolean).map((time) => Date.parse(time ?? "")));
    const next = Math.min(...times.filter((time) => time > serverNow()));
    if (next - serverNow() < 2 ** 31) setTimeout(() => this.#turn(), next - serverNow() + 50);
  }

  #turn() {
    const row = this.#rows().find(({ dataset }) => dataset.stock === this.choice?.type);
    if (row && !this.#sells(row)) this.choice = null;
    this.#paint();
    this.dispatchEvent(new CustomEvent("choice"));
    this.#watchTheClock();
  }

  /** @param {HTMLElement} row @param {number} wanted */
  #want(row, wanted) {
    const quantity = Math.max(0, Math.min(this.#highest(row), wanted));
    this.choice = quantity ? { type: row.dataset.stock ?? "", quantity } : null;
    this.#paint();
    this.dispatchEvent(new CustomEvent("choice"));
    if (wanted > quantity) this.#announce(count("at-most", this.#highest(row)));
  }

  /** Tell whether the choice may be held; if not, it can only be bought at once. */
  get mayHold() {
    const row = this.#rows().find(({ dataset }) => dataset.stock === this.choice?.type);
    return row ? row.dataset.noHold === undefined : this.#rows().some(({ dataset }) => dataset.noHold === undefined);
  }

  clear() {
    this.choice = null;
    this.#paint();
  }

  /** @param {boolean} locked */
  lock(locked) {
    this.#locked = locked;
    this.#paint();
  }

  /** @param {string} type @param {number} available */
  update(type, available) {
    const row = this.#rows().find(({ dataset }) => dataset.stock === type);
    if (!row || Number(row.dataset.available) === available) return;
    const before = row.dataset.left;
    row.dataset.available = String(available);
    this.#shrink(row, available);
    this.#paint();
    const words = say("left-of", { name: row.dataset.name ?? "", left: this.#left(available) });
    if (before !== row.dataset.left) this.#announce(words);
    else if (this.choice?.type === type) this.#announceSoon(type, words);
  }

  /** Reduce a choice of more places than are left. @param {HTMLElement} row @param {number} available */
  #shrink(row, available) {
    if (this.#standby || this.#quantity(row) <= available) return;
    this.choice = available ? { type: row.dataset.stock ?? "", quantity: available } : null;
    this.dispatchEvent(new CustomEvent("choice"));
    const name = row.dataset.name ?? "";
    this.dispatchEvent(new CustomEvent("lost", { detail: available ? count("fewer", available, { name }) : say("gone", { name }) }));
  }

  /** @param {number} available */
  #left(available) {
    if (!available) return say(this.#standby ? "none-left-standby" : "none-left");
    return count(available <= this.few ? "last" : "left", available);
  }

  /** @param {string} text */
  #announce(text) {
    this.dispatchEvent(new CustomEvent("announce", { detail: text }));
  }

  /** Announce the newest number of each type now and then: in a rush the speech would never end. @param {string} type @param {string} text */
  #announceSoon(type, text) {
    this.#toSay.set(type, text);
    this.#timer ||= setTimeout(() => {
      this.#announce([...this.#toSay.values()].join(" "));
      this.#toSay.clear();
      this.#timer = 0;
    }, SAID_EVERY);
  }

  #paint() {
    for (const row of this.#rows()) {
      const available = Number(row.dataset.available);
      const quantity = this.#quantity(row);
      const highest = this.#highest(row);
      const input = this.#input(row);
      const [fewer, more] = row.querySelectorAll("button");
      const left = row.querySelector("[data-left-words]");
      if (left) left.textContent = this.#left(available);
      if (available > this.few) delete row.dataset.left;
      else row.dataset.left = available ? "few" : "none";
      row.querySelector('[data-window="opens"]')?.toggleAttribute("hidden", this.#sells(row));
      input.value = String(quantity);
      input.max = String(highest);
      input.disabled = this.#locked || !highest;
      fewer?.toggleAttribute("disabled", this.#locked || quantity === 0);
      more?.toggleAttribute("disabled", this.#locked || quantity >= highest);
    }
  }
}
