// @ts-check
/** Pay for the seats of a hold panel. */

import { post } from "../sessions_app/api.js";
import { say } from "../sessions_app/words.js";
import { PaymentMeans } from "./payment-means.js";

/** @typedef {import("../reservations/hold-panel.js").HoldPanel} HoldPanel */

/** Words for declines that need more explanation. @type {Record<string, string>} */
const REFUSALS = { gateway_timeout: "unpaid", gateway_silent: "unpaid", authentication_required: "unasked" };

let leaving = false;

/** Open the sale once: the answer and the socket may both report it. @param {string | {id: string}} sale */
export function openSale(sale) {
  if (!leaving) location.assign(`/sales/${typeof sale === "string" ? sale : sale.id}`);
  leaving = true;
}

addEventListener("pageshow", () => (leaving = false));

/** @param {HTMLFormElement} form @param {HoldPanel} panel */
export function payWith(form, panel) {
  const means = new PaymentMeans(form);
  const button = /** @type {HTMLButtonElement} */ (form.querySelector('[type="submit"]'));
  panel.addEventListener("change", (event) => {
    const { before, now } = /** @type {CustomEvent} */ (event).detail;
    if (now.status === "confirmed" && now.sale) openSale(now.sale);
    else if (before?.status === "paying" && now.status === "held" && !panel.isTalking) panel.alert(say("unpaid"));
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const reservation = panel.reservation;
    if (!reservation || button.disabled) return;
    const email = String(new FormData(form).get("email") ?? "").trim();
    panel.clearMessage();
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    const isFree = reservation.total?.amount === 0;
    const payment = isFree ? null : await means.take();
    const said = { ...(payment && { payment }), ...(email && { email }) };
    const answer = (isFree || payment) && (await post(`/reservations/${reservation.id}/pay`, said, { wait: 10 }));
    button.disabled = false;
    button.removeAttribute("aria-busy");
    if (!answer) return;
    if (answer.ok && answer.body?.sale) return openSale(answer.body.sale);
    if (!answer.ok) {
      const { code, sale, detail, status, errors, reason } = answer.problem;
      if (code === "already_paid" && sale) return openSale(sale);
      if (code === "payment_declined") panel.alert(say(REFUSALS[reason] ?? "declined"));
      else if (status === 0) panel.alert(say("no-answer"));
      else if (!["payment_in_progress", "reservation_expired"].includes(code ?? "")) panel.alert(errors?.[0]?.message ?? detail ?? say("failed"));
    }
    await panel.refresh();
  });
}
