// @ts-check
/**
 * The means of payment of a form. The sandbox's tokens are in the form. A card's number goes from Stripe's own frame to Stripe, and
 * we get the id of a payment method. Stripe.js may come from Stripe only, and is loaded when the form is first visible.
 *
 * @typedef {{method: string, token: string}} Means
 */

import { language, say } from "../sessions_app/words.js";

const SOURCE = "https://js.stripe.com/v3/";
const PATIENCE = 15_000;

/** @type {Promise<any> | null} */
let stripeJs = null;

function load() {
  stripeJs ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const failed = () => (script.remove(), (stripeJs = null), reject(new Error(SOURCE)));
    const late = setTimeout(failed, PATIENCE);
    script.src = SOURCE;
    script.onerror = () => (clearTimeout(late), failed());
    script.onload = () => (clearTimeout(late), resolve(/** @type {any} */ (globalThis).Stripe));
    document.head.append(script);
  });
  return stripeJs;
}

/** The form's means: `take()` resolves to the `payment` to send, or to null after the form has said what is missing. */
export class PaymentMeans {
  /** @type {any} */ #stripe = null;
  /** @type {any} */ #card = null;
  #isMounting = false;
  #seen = new IntersectionObserver((entries) => entries.some(({ isIntersecting }) => isIntersecting) && this.#mount());

  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.form = form;
    this.area = /** @type {HTMLElement | null} */ (form.querySelector('[data-means="stripe"]'));
    form.addEventListener("change", () => this.#show());
    this.area?.querySelector("[data-card-again]")?.addEventListener("click", () => this.#mount());
    if (this.area) this.#seen.observe(this.area);
    this.#show();
  }

  get method() {
    return String(new FormData(this.form).get("method") ?? "fake");
  }

  #show() {
    for (const part of /** @type {NodeListOf<HTMLElement>} */ (this.form.querySelectorAll("[data-means]"))) {
      part.hidden = part.dataset.means !== this.method;
    }
  }

  /** Show only this note, if any. @param {string} name @param {string} [text] */
  #note(name, text) {
    for (const note of /** @type {NodeListOf<HTMLElement>} */ (this.area?.querySelectorAll("[data-card-note]") ?? [])) {
      note.hidden = note.dataset.cardNote !== name;
      if (!note.hidden && text) note.textContent = text;
    }
  }

  async #mount() {
    if (!this.area || this.#card || this.#isMounting) return;
    this.#isMounting = true;
    this.#note("loading");
    try {
      this.#stripe = (await load())(this.area.dataset.key, { locale: language });
      const look = getComputedStyle(this.form);
      const base = { color: look.color, fontFamily: look.fontFamily, fontSize: "16px" };
      const card = this.#stripe.elements().create("card", { hidePostalCode: true, style: { base } });
      card.on("ready", () => this.#note(""));
      card.on("change", (/** @type {any} */ { error }) => (error ? this.#note("wrong", error.message) : this.#note("")));
      card.mount(this.area.querySelector("[data-card]"));
      this.#card = card;
    } catch {
      this.#note("missing");
    }
    this.#isMounting = false;
  }

  /** @returns {Promise<Means | null>} */
  async take() {
    const fields = new FormData(this.form);
    if (this.method !== "stripe") {
      const token = fields.get(`token.${this.method}`) ?? fields.get("token");
      return { method: this.method, token: String(token ?? "") };
    }
    if (!this.#card) {
      await this.#mount();
      return null;
    }
    this.#note("");
    const email = String(fields.get("email") ?? "").trim();
    const asked = { type: "card", card: this.#card, ...(email && { billing_details: { email } }) };
    /** @type {any} */
    let answer;
    try {
      answer = await this.#stripe.createPaymentMethod(asked);
    } catch {
      answer = { error: {} };
    }
    if (answer.paymentMethod) return { method: "stripe", token: answer.paymentMethod.id };
    this.#note("wrong", answer.error.message ?? say("no-answer"));
    return null;
  }
}
