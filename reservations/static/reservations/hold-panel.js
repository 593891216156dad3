// @ts-check
/**
 * Show one reservation from the request to its end: queued, held with a countdown, paying, and the outcome.
 * The server has the state: this shows it, and asks again whenever it may have changed.
 *
 * @typedef {{id: string, status: string, session: string, seats: string[], quantity?: number, ticket_type?: string | null,
 *   total?: {amount: number, currency: string} | null, expires_at?: string | null, extensions_left?: number, reason?: string | null,
 *   voucher?: string | null, lines?: import("./terms.js").Line[], conflicts?: {seat: string, reason: string}[], sale?: string | {id: string} | null}} Reservation
 */

import { get, post, remove } from "../sessions_app/api.js";
import { count, listed, money, say } from "../sessions_app/words.js";
import { Countdown } from "./countdown.js";
import { Terms, billOf } from "./terms.js";

const UNSETTLED = new Set(["queued", "paying"]);
const LIVE = new Set(["queued", "held", "paying"]);
const POLL = 1_200;
const OVER = 500; // the server needs a moment to sweep

export class HoldPanel extends EventTarget {
  /** @type {Reservation | null} */ reservation = null;
  #poll = 0;
  #asked = 0;

  /** @param {HTMLElement} root @param {(seat: string) => string} [nameSeat] */
  constructor(root, nameSeat = (seat) => seat) {
    super();
    this.root = root;
    this.nameSeat = nameSeat;
    this.countdown = new Countdown(this.#part("countdown"), {
      warn: (seconds) => this.#alert(count("hurry", seconds)),
      over: () => this.#refreshSoon(OVER),
    });
    root.addEventListener("submit", (event) => event.target instanceof Element && event.target.matches(".actions") && event.preventDefault());
    this.terms = new Terms(/** @type {HTMLFormElement} */ (root.querySelector("#terms")), {
      nameSeat: (seat) => this.nameSeat(seat),
      priced: (reservation) => this.#priced(reservation),
      refused: (problem) => this.#refused(problem),
    });
    this.#part("extend").addEventListener("click", () => this.#extend());
    for (const button of root.querySelectorAll('[data-part="release"], [data-part="cancel"]')) {
      button.addEventListener("click", () => this.release());
    }
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    addEventListener("pageshow", (event) => event.persisted && this.refresh());
  }

  get isLive() {
    return LIVE.has(this.reservation?.status ?? "");
  }

  /** Tell whether it shows a message beside the state. */
  get isTalking() {
    return !this.#part("message").hidden;
  }

  /** @param {string} name @returns {HTMLElement} */
  #part(name) {
    return /** @type {HTMLElement} */ (this.root.querySelector(`[data-part="${name}"]`));
  }

  /** @param {Reservation} reservation @param {boolean} [asked] whether the buyer has just asked for it; then the focus moves there */
  show(reservation, asked = false) {
    const before = this.reservation;
    this.reservation = reservation;
    clearTimeout(this.#poll);
    if (before?.id !== reservation.id || !LIVE.has(reservation.status)) this.clearMessage();
    if (UNSETTLED.has(reservation.status)) this.#refreshSoon(POLL);
    this.#paint(reservation);
    const isMoved = before?.id === reservation.id && before.seats.length > 0 && before.seats.join() !== reservation.seats.join();
    if (isMoved) this.#alert(say("moved", { seats: listed(reservation.seats.map(this.nameSeat)) }));
    if (isMoved) this.dispatchEvent(new CustomEvent("change", { detail: { before, now: reservation } }));
    else if (before?.id !== reservation.id || before.status !== reservation.status) {
      this.dispatchEvent(new CustomEvent("change", { detail: { before, now: reservation } }));
      if (asked || (before && reservation.status !== "confirmed")) this.#lead();
    }
  }

  #lead() {
    if (this.root.hidden) return;
    this.#part("title").focus({ preventScroll: true });
    this.root.scrollIntoView({ block: "nearest" });
  }

  /** Hide the payment of a free hold. @param {boolean} isFree */
  #paintPaying(isFree) {
    for (const part of /** @type {NodeListOf<HTMLFieldSetElement>} */ (this.root.querySelectorAll("[data-priced]"))) {
      part.hidden = part.disabled = isFree;
    }
    for (const part of /** @type {NodeListOf<HTMLElement>} */ (this.root.querySelectorAll("[data-free]"))) part.hidden = !isFree;
  }

  /** @param {Reservation} reservation with other terms, and another total */
  #priced(reservation) {
    this.clearMessage();
    this.show(reservation);
    this.#part("said").textContent = reservation.total ? say("new-total", { total: money(reservation.total) }) : "";
  }

  /** @param {Reservation} reservation */
  #paint(reservation) {
    const { status, seats, quantity, total, expires_at: end, extensions_left: left, reason, lines = [] } = reservation;
    this.root.hidden = false;
    this.root.dataset.status = status;
    for (const element of /** @type {NodeListOf<HTMLElement>} */ (this.root.querySelectorAll("[data-when]"))) {
      element.hidden = !(element.dataset.when ?? "").split(" ").includes(status);
    }
    this.#part("title").textContent = this.#said("title", reason, status);
    const places = seats.length || quantity || 0;
    this.#part("places").textContent = places ? count("places", places) : "";
    this.#part("seats").replaceChildren(...seats.map((seat) => {
      const item = document.createElement("li");
      item.textContent = this.nameSeat(seat);
      return item;
    }));
    this.#part("total").textContent = total ? money(total) : "";
    this.#paintPaying(total?.amount === 0);
    const bill = billOf(lines, this.nameSeat);
    this.#part("bill").hidden = !bill.hasParts;
    this.#part("bill").replaceChildren(...bill.rows);
    this.#part("tax-row").hidden = !bill.tax;
    this.#part("tax").textContent = bill.tax;
    this.terms.paint(reservation);
    this.#part("story").textContent = this.#said("story", reason, status);
    if (status === "held" && end) this.countdown.run(Date.parse(end));
    else this.countdown.stop();
    this.#part("extend").hidden = left === 0;
  }

  /** Return the words for the reason of its end, if there are some, else for its status. @param {string} part @param {string | null | undefined} reason @param {string} status */
  #said(part, reason, status) {
    const name = [`${part}-${reason}`, `${part}-${status}`].find((word) => say(word) !== word);
    return name ? say(name) : "";
  }

  /** Take a message of `/ws/me`, if it is about this reservation. @param {{id: string}} message */
  take(message) {
    if (message.id === this.reservation?.id) this.refresh();
  }

  /** @param {number} milliseconds */
  #refreshSoon(milliseconds) {
    clearTimeout(this.#poll);
    this.#poll = setTimeout(() => this.refresh(), milliseconds);
  }

  /** Ask the server for the state. */
  async refresh() {
    const { reservation } = this;
    if (!reservation || !LIVE.has(reservation.status)) return;
    const asked = ++this.#asked;
    const answer = await get(`/reservations/${reservation.id}`);
    if (asked !== this.#asked || this.reservation?.id !== reservation.id) return;
    if (!answer.ok && (answer.status === 404 || answer.status === 401)) return this.#lose();
    if (!answer.ok) return this.#refreshSoon(POLL);
    this.show(answer.body);
  }

  /** End: the hold belongs to another buyer than the current one, who signed in or out in another window. */
  #lose() {
    this.countdown.stop();
    this.#alert(say("reload"));
  }

  async #extend() {
    const { reservation } = this;
    if (!reservation) return;
    const answer = await this.#busy("extend", post(`/reservations/${reservation.id}/extend`, {}));
    if (answer.ok) {
      this.clearMessage();
      this.show(answer.body);
    } else if (answer.problem.code === "extension_limit") {
      this.#alert(say("extension-limit"));
      this.refresh();
    } else this.#refused(answer.problem);
  }

  async release() {
    const { reservation } = this;
    if (!reservation) return;
    const answer = await this.#busy("release", remove(`/reservations/${reservation.id}`));
    if (answer.ok) this.show({ ...reservation, status: "cancelled", reason: null });
    else this.#refused(answer.problem);
  }

  /** @param {{code?: string, detail?: string, status: number}} problem */
  #refused(problem) {
    this.#alert(problem.status ? problem.detail ?? say("failed") : say("no-answer"));
    this.refresh();
  }

  /** @template T @param {string} part @param {Promise<T>} work @returns {Promise<T>} */
  async #busy(part, work) {
    const button = this.#part(part);
    button.setAttribute("aria-busy", "true");
    button.toggleAttribute("disabled", true);
    try {
      return await work;
    } finally {
      button.removeAttribute("aria-busy");
      button.toggleAttribute("disabled", false);
    }
  }

  /** @param {string} text */
  #alert(text) {
    this.#part("message").textContent = text;
    this.#part("message").hidden = false;
  }

  /** Show a message that stays until the state changes. @param {string} text */
  alert(text) {
    this.#alert(text);
  }

  clearMessage() {
    this.#part("message").hidden = true;
    this.#part("message").textContent = "";
  }
}
