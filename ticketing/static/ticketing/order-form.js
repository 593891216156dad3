// @ts-check
/**
 * Place an order. An intention has one key from the first press until its answer, so a second press or a reload makes no second
 * order. It belongs to one buyer: if the user signed in or out since, the page sends nothing and looks up the outcome.
 *
 * @typedef {{ticket_type: string, quantity: number}} Wish
 * @typedef {{key: string, body: Wish, at: number, buyer: string}} Intention
 * @typedef {import("../sessions_app/api.js").Problem} Problem
 */

import { becomeKnown, buyer, get, newKey, post } from "../sessions_app/api.js";
import { PaymentMeans } from "./payment-means.js";

const KEPT = 10 * 60_000; // milliseconds in which the same unanswered wish is the same intention
const RESUMED = 2 * 60_000; // milliseconds in which a reloaded page repeats it by itself

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

  /** Repeat an order that was on its way when the page closed; if it was another buyer's, look it up. */
  resume() {
    const kept = this.#kept();
    if (!kept || Date.now() - kept.at > RESUMED) return false;
    if (kept.buyer === buyer) this.#send(kept);
    else this.#lookUp(kept);
    return true;
  }

  /** Look the order up: it may be this buyer's now, because an account takes over its guest's orders. @param {Intention} kept */
  async #lookUp(kept) {
    this.#become(true);
    const answer = await get(`/orders?idempotency_key=${encodeURIComponent(kept.key)}`);
    const [found] = answer.ok ? answer.body.results : [];
    if (found) return this.#open(found.id);
    this.#become(false);
    this.dispatchEvent(new CustomEvent("refused", { detail: answer.ok ? { status: 409, code: "not_resent" } : answer.problem }));
  }

  /** @param {string} id */
  #open(id) {
    sessionStorage.removeItem(this.place);
    location.assign(`/orders/${id}`);
  }

  /** @param {Wish} wanted */
  async #buy(wanted) {
    const kept = this.#kept();
    if (kept?.body.ticket_type === wanted.ticket_type && kept.body.quantity === wanted.quantity) return this.#send(kept);
    this.#become(true);
    const fields = new FormData(this.form);
    const atTheDoor = fields.get("method") === "door"; // an order without a payment is paid there
    const payment = atTheDoor ? null : await this.means.take();
    if (!payment && !atTheDoor) return this.#become(false);
    if (!(await becomeKnown())) return this.#refuse({ status: 0, code: "no_answer" });
    const [email, lane] = [String(fields.get("email") ?? "").trim(), fields.get("lane_code")];
    await this.#send(this.#intend({ ...wanted, ...(payment && { payment }), ...(email && { email }), ...(lane && { lane_code: lane }) }));
  }

  /** @param {Wish} body @returns {Intention} */
  #intend(body) {
    const intention = { key: newKey(), body, at: Date.now(), buyer };
    sessionStorage.setItem(this.place, JSON.stringify(intention));
    return intention;
  }

  /** Return the unanswered intention: the same wish repeats it first. @returns {Intention | null} */
  #kept() {
    const kept = JSON.parse(sessionStorage.getItem(this.place) ?? "null");
    return kept && Date.now() - kept.at < KEPT ? kept : null;
  }

  /** @param {Intention} intention */
  async #send({ key, body, buyer: meant }) {
    this.#become(true);
    const answer = await post("/orders", body, { key, meant });
    if (answer.ok) return this.#open(answer.body.id);
    if (isDecided(answer)) sessionStorage.removeItem(this.place);
    this.#refuse(answer.problem);
  }

  /** @param {Problem} problem */
  #refuse(problem) {
    this.#become(false);
    this.dispatchEvent(new CustomEvent("refused", { detail: problem }));
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

/**
 * Tell whether the intention is decided: not if it may have had an effect, or if only the page's credentials are too old.
 * @param {{status: number, problem: Problem}} answer
 */
function isDecided({ status, problem }) {
  return status > 0 && status < 500 && ![401, 403].includes(status) && problem.code !== "request_in_flight";
}
