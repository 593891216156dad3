// @ts-check
/**
 * Buying in one step. An intention has one key from the first press until it is answered: pressed twice, or sent again after a reload,
 * it is one order.
 *
 * @typedef {{ticket_type: string, quantity: number}} Wish
 * @typedef {{key: string, body: Wish, at: number}} Intention
 * @typedef {import("../sessions_app/api.js").Problem} Problem
 */

import { newKey, post } from "../sessions_app/api.js";
import { PaymentMeans } from "./payment-means.js";

const KEPT = 10 * 60_000; // milliseconds in which the same wish is the same intention, while nobody answered it
const RESUMED = 2 * 60_000; // and in which a page that comes back asks for it by itself

export class OrderForm extends EventTarget {
  busy = false;

  /** @param {HTMLFormElement} form @param {string} session @param {() => Wish | null} wish */
  constructor(form, session, wish) {
    super();
    this.form = form;
    this.place = `order ${session}`;
    this.means = new PaymentMeans(form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = wish();
      if (wanted && !this.busy) this.#buy(wanted);
    });
    addEventListener("pageshow", (event) => event.persisted && this.#rest());
  }

  /** Whether an order was on its way when the page went away; it is asked for again. */
  resume() {
    const kept = this.#kept();
    if (!kept || Date.now() - kept.at > RESUMED) return false;
    this.#send(kept);
    return true;
  }

  /** @param {Wish} wanted */
  async #buy(wanted) {
    const kept = this.#kept();
    if (kept?.body.ticket_type === wanted.ticket_type && kept.body.quantity === wanted.quantity) return this.#send(kept);
    this.#become(true);
    const fields = new FormData(this.form);
    const atTheDoor = fields.get("method") === "door"; // what carries no payment is paid there
    const payment = atTheDoor ? null : await this.means.take();
    if (!payment && !atTheDoor) return this.#become(false);
    const [email, lane] = [String(fields.get("email") ?? "").trim(), fields.get("lane_code")];
    await this.#send(this.#intend({ ...wanted, ...(payment && { payment }), ...(email && { email }), ...(lane && { lane_code: lane }) }));
  }

  /** @param {Wish} body @returns {Intention} */
  #intend(body) {
    const intention = { key: newKey(), body, at: Date.now() };
    sessionStorage.setItem(this.place, JSON.stringify(intention));
    return intention;
  }

  /** What nobody answered yet: whatever became of it, the same wish is that one first. @returns {Intention | null} */
  #kept() {
    const kept = JSON.parse(sessionStorage.getItem(this.place) ?? "null");
    return kept && Date.now() - kept.at < KEPT ? kept : null;
  }

  /** @param {Intention} intention */
  async #send({ key, body }) {
    this.#become(true);
    const answer = await post("/orders", body, { key });
    if (answer.ok) {
      sessionStorage.removeItem(this.place);
      location.assign(`/orders/${answer.body.id}`);
      return;
    }
    if (answer.status > 0 && answer.status < 500 && answer.problem.code !== "request_in_flight") sessionStorage.removeItem(this.place);
    this.#become(false);
    this.dispatchEvent(new CustomEvent("refused", { detail: answer.problem }));
  }

  #rest() {
    this.#become(false);
    this.dispatchEvent(new CustomEvent("again"));
  }

  /** @param {boolean} busy */
  #become(busy) {
    this.busy = busy;
    this.dispatchEvent(new CustomEvent("busy"));
  }
}
