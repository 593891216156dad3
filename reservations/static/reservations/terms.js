// @ts-check
/**
 * Choose concessions for the places of a hold, and a voucher. The buyer names them; the server calculates the price.
 *
 * @typedef {{seat: string | null, name: string, price: {amount: number, currency: string}, concession?: {id: string, name: string},
 *   base?: {amount: number, currency: string}, discount?: {amount: number}, fee?: {amount: number}, tax?: {amount: number}}} Line
 * @typedef {{id: string, name: string, label: string}} Concession
 * @typedef {import("./hold-panel.js").Reservation} Reservation
 */

import { post } from "../sessions_app/api.js";
import { money, say } from "../sessions_app/words.js";

/** Return the rows of the bill: each place, then discounts and fees; and the contained tax. @param {Line[]} lines @param {(seat: string) => string} nameSeat */
export function billOf(lines, nameSeat) {
  const currency = lines[0]?.price.currency ?? "";
  /** @type {Map<string, {places: number, amount: number}>} */
  const rows = new Map();
  for (const { seat, name, price, base = price, concession } of lines) {
    const what = [seat ? nameSeat(seat) : name, ...(concession ? [concession.name] : [])].join(" · ");
    const row = rows.get(`${what} ${base.amount}`) ?? { what, places: 0, amount: 0 };
    rows.set(`${what} ${base.amount}`, { ...row, places: row.places + 1, amount: row.amount + base.amount });
  }
  /** @param {"discount" | "fee" | "tax"} part */
  const sum = (part) => lines.reduce((all, line) => all + (line[part]?.amount ?? 0), 0);
  const [discount, fee, tax] = [sum("discount"), sum("fee"), sum("tax")];
  const told = [...rows.values()].map((row) => {
    const { what, places, amount } = /** @type {{what: string, places: number, amount: number}} */ (row);
    return entry(places > 1 ? `${places} × ${what}` : what, money({ amount, currency }));
  });
  if (discount) told.push(entry(say("bill-discount"), `−${money({ amount: discount, currency })}`));
  if (fee) told.push(entry(say("bill-fee"), money({ amount: fee, currency })));
  return { rows: told, tax: tax ? money({ amount: tax, currency }) : "", hasParts: Boolean(discount || fee || tax || lines.some((line) => line.concession)) };
}

/** @param {string} what @param {string} amount */
function entry(what, amount) {
  const row = document.createElement("div");
  const [name, value] = [document.createElement("dt"), document.createElement("dd")];
  name.textContent = what;
  value.textContent = amount;
  value.className = "number";
  row.append(name, value);
  return row;
}

export class Terms {
  /** The reservation that the fields show, so that no choice is overwritten while the reservation is unchanged. */
  #painted = "";
  /** @type {Reservation | null} */ #reservation = null;

  /**
   * @param {HTMLFormElement} form
   * @param {{nameSeat: (seat: string) => string, priced: (reservation: Reservation) => void,
   *   refused: (problem: import("../sessions_app/api.js").Problem) => void}} owner
   */
  constructor(form, owner) {
    this.form = form;
    this.owner = owner;
    /** @type {Concession[]} */
    this.concessions = JSON.parse(document.querySelector("#concessions")?.textContent ?? "[]");
    this.button = /** @type {HTMLButtonElement} */ (form.querySelector('[data-part="price"]'));
    this.voucher = /** @type {HTMLInputElement} */ (form.querySelector("#voucher"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
  }

  /** @param {Reservation} reservation */
  paint(reservation) {
    this.#reservation = reservation;
    const lines = reservation.lines ?? [];
    const shown = JSON.stringify([reservation.id, lines.map(({ seat, concession }) => [seat, concession?.id]), reservation.voucher]);
    if (shown === this.#painted || reservation.status !== "held") return;
    this.#painted = shown;
    this.voucher.value = reservation.voucher ?? "";
    this.#fail("");
    const places = this.form.querySelector('[data-part="concessions"]');
    places?.replaceChildren(...(reservation.seats.length ? this.#ofSeats(lines) : this.#ofCounts(lines)));
  }

  /** @param {Line[]} lines */
  #ofSeats(lines) {
    return lines.map(({ seat, concession }) => {
      const select = document.createElement("select");
      select.append(new Option(say("full-price"), ""), ...this.concessions.map(({ id, label }) => new Option(label, id)));
      select.value = concession?.id ?? "";
      return field(`concession:${seat}`, this.owner.nameSeat(seat ?? ""), select);
    });
  }

  /** @param {Line[]} lines */
  #ofCounts(lines) {
    return this.concessions.map(({ id, label }) => {
      const input = document.createElement("input");
      Object.assign(input, { type: "number", min: "0", max: String(lines.length), inputMode: "numeric" });
      input.value = String(lines.filter((line) => line.concession?.id === id).length);
      return field(`count:${id}`, label, input);
    });
  }

  /** Return the fields' values in the form of the API. */
  get #wish() {
    const [seats, counts] = [/** @type {Record<string, string>} */ ({}), /** @type {Record<string, number>} */ ({})];
    for (const [name, value] of new FormData(this.form)) {
      const [kind, key] = [name.slice(0, name.indexOf(":")), name.slice(name.indexOf(":") + 1)];
      if (kind === "concession" && value) seats[key] = String(value);
      if (kind === "count") counts[key] = Math.max(0, Math.trunc(Number(value)) || 0);
    }
    const concessions = this.#reservation?.seats.length ? seats : counts;
    return { ...(this.concessions.length && { concessions }), voucher: this.voucher.value.trim() || null };
  }

  async #ask() {
    if (!this.#reservation || this.button.disabled) return;
    this.#fail("");
    this.button.disabled = true;
    this.button.setAttribute("aria-busy", "true");
    const answer = await post(`/reservations/${this.#reservation.id}/price`, this.#wish);
    this.button.disabled = false;
    this.button.removeAttribute("aria-busy");
    this.button.focus({ preventScroll: true });
    if (answer.ok) return this.owner.priced(answer.body);
    const [wrong] = answer.problem.errors ?? [];
    if (wrong?.field !== "voucher") return this.owner.refused(answer.problem);
    this.#fail(wrong.message);
    this.voucher.focus();
  }

  /** @param {string} text the error of the voucher */
  #fail(text) {
    const told = /** @type {HTMLElement} */ (this.form.querySelector('[data-part="voucher-error"]'));
    told.hidden = !text;
    told.textContent = text;
    this.voucher.toggleAttribute("aria-invalid", Boolean(text));
    if (text) this.voucher.setAttribute("aria-invalid", "true");
  }
}

/** @param {string} name @param {string} text @param {HTMLSelectElement | HTMLInputElement} control */
function field(name, text, control) {
  const [around, label] = [document.createElement("div"), document.createElement("label")];
  around.className = "field";
  label.htmlFor = control.id = control.name = name;
  label.textContent = text;
  around.append(label, control);
  return around;
}
