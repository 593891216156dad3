// @ts-check
/** How many unnumbered places of which type: one type at a time. */

import { count } from "./words.js";

export class StockPicker extends EventTarget {
  /** @type {{type: string, quantity: number} | null} */ choice = null;
  #locked = false;

  /** @param {HTMLElement} root @param {number} most places a buyer may take */
  constructor(root, most) {
    super();
    this.root = root;
    this.most = most;
    root.addEventListener("click", (event) => {
      const button = event.target instanceof Element ? event.target.closest("[data-step]") : null;
      const row = button?.closest("[data-stock]");
      if (button instanceof HTMLElement && row instanceof HTMLElement) this.#step(row, Number(button.dataset.step));
    });
    this.#paint();
  }

  /** @param {HTMLElement} row @param {number} step */
  #step(row, step) {
    const type = row.dataset.stock ?? "";
    const before = this.choice?.type === type ? this.choice.quantity : 0;
    const quantity = Math.max(0, Math.min(this.most, Number(row.dataset.available), before + step));
    this.choice = quantity ? { type, quantity } : null;
    this.#paint();
    this.dispatchEvent(new CustomEvent("choice"));
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
    const row = /** @type {HTMLElement | null} */ (this.root.querySelector(`[data-stock="${CSS.escape(type)}"]`));
    if (!row) return;
    row.dataset.available = String(available);
    if (this.choice?.type === type && this.choice.quantity > available) {
      this.choice = available ? { type, quantity: available } : null;
      this.dispatchEvent(new CustomEvent("choice"));
    }
    this.#paint();
  }

  #paint() {
    const { choice } = this;
    for (const row of /** @type {NodeListOf<HTMLElement>} */ (this.root.querySelectorAll("[data-stock]"))) {
      const available = Number(row.dataset.available);
      const quantity = choice && choice.type === row.dataset.stock ? choice.quantity : 0;
      const [fewer, more] = row.querySelectorAll("button");
      const output = row.querySelector("output");
      const left = row.querySelector("[data-left]");
      if (output) output.textContent = String(quantity);
      if (left) left.textContent = count("left", available);
      fewer?.toggleAttribute("disabled", this.#locked || quantity === 0);
      more?.toggleAttribute("disabled", this.#locked || quantity >= Math.min(this.most, available));
    }
  }
}
