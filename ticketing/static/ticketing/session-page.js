// @ts-check
/** The session's page: keep the map up to date, turn a choice into a hold, and a hold into tickets. */

import { VersionedFeed } from "../realtime/feed.js";
import { LiveSocket } from "../realtime/socket.js";
import { HoldPanel } from "../reservations/hold-panel.js";
import { becomeKnown, get, isKnown, post, serverNow, whenKnown } from "../sessions_app/api.js";
import { SeatMap } from "../sessions_app/seat-map.js";
import { StockPicker } from "../sessions_app/stock.js";
import { count, listed, money, say } from "../sessions_app/words.js";
import { OrderForm } from "./order-form.js";
import { payWith } from "./payment-form.js";

/** @typedef {import("../reservations/hold-panel.js").Reservation} Reservation */
/**
 * @typedef {{id: string, version: number, most: number, few: number, lane_code: string, on_sale_at: string | null, closed: boolean,
 *   types: import("../sessions_app/seat-map.js").TicketType[]}} Page
 */

/** @param {string} selector @returns {HTMLElement} */
const one = (selector) => /** @type {HTMLElement} */ (document.querySelector(selector));
/** @type {Page} */
const page = JSON.parse(one("#session-data").textContent ?? "{}");
const SILENCE = 40_000; // milliseconds; the server speaks every 15 s

const plan = /** @type {HTMLElement | null} */ (document.querySelector("[data-plan]"));
const map = plan && new SeatMap(plan, page.types, page.most);
const shelf = /** @type {HTMLElement | null} */ (document.querySelector("[data-stock-picker]"));
const stock = shelf && new StockPicker(shelf, page.most, page.few);
const orderForm = /** @type {HTMLFormElement | null} */ (document.querySelector("#order-form"));
const orders = orderForm && new OrderForm(orderForm, page.id, () => stock?.choice ? { ticket_type: stock.choice.type, quantity: stock.choice.quantity } : null);
const panel = new HoldPanel(one("#hold-panel"), (seat) => map?.name(seat) ?? seat);
const hold = /** @type {HTMLButtonElement} */ (one("#hold"));
const best = /** @type {HTMLFormElement | null} */ (document.querySelector("#best"));
const bestButton = () => /** @type {HTMLButtonElement} */ (best?.querySelector("button"));
/** Whether a request for places is on its way. */
let asks = false;
/** Seats by the reservation that bought them. @type {Map<string, string[]>} */
const bought = new Map();
/** The buyer's orders of this session, which have pages of their own. @type {Set<string>} */
const ordered = new Set();
const opensAt = page.on_sale_at ? Date.parse(page.on_sale_at) : 0;

/** @param {string} text */
function announce(text) {
  const announcer = one("#announcer");
  announcer.textContent = "";
  requestAnimationFrame(() => (announcer.textContent = text));
}

/** @param {string} text */
function warn(text) {
  const notice = one("#choice-message");
  notice.hidden = !text;
  notice.textContent = text;
}

// --- chosen places

/** @returns {{places: number, total: {amount: number, currency: string} | null}} */
function chosen() {
  const prices = new Map(page.types.map((type) => [type.id, type.price]));
  if (stock?.choice) {
    const { type, quantity } = stock.choice;
    const price = prices.get(type) ?? { amount: 0, currency: "" };
    const fee = page.types.find(({ id }) => id === type)?.fee ?? 0;
    return { places: quantity, total: { ...price, amount: quantity * (price.amount + fee) } };
  }
  const each = [...(map?.chosen ?? [])].map((label) => prices.get(map?.seats.get(label)?.type ?? ""));
  const amount = each.reduce((sum, price) => sum + (price?.amount ?? 0), 0);
  return { places: each.length, total: each[0] ? { amount, currency: each[0].currency } : null };
}

function paintChoice() {
  const { places, total } = chosen();
  const free = !panel.isLive && !page.closed;
  if (places && !panel.isLive) panel.root.hidden = true;
  one("#choice").hidden = panel.isLive;
  one("#choice").toggleAttribute("data-chosen", places > 0);
  const isStock = Boolean(stock?.choice) || (!map && Boolean(stock));
  one("#choice").dataset.kind = isStock ? "stock" : "";
  one("#choice-places").textContent = places ? count("places", places) : say("nothing-chosen");
  one("#choice-total").textContent = total ? money(total) : "";
  one("#choice-seats").replaceChildren(...[...(map?.chosen ?? [])].map(chip));
  hold.disabled = !free || !places || serverNow() < opensAt || asks || Boolean(orders?.busy);
  hold.hidden = isStock && !stock?.mayHold;
  hold.textContent = say(isStock ? "hold-first" : "hold-seats");
  hold.classList.toggle("primary", !isStock);
  paintOrder(hold.disabled, total);
  if (best) bestButton().disabled = !free || serverNow() < opensAt || asks;
  if (map) map.locked = panel.isLive || page.closed;
  stock?.lock(panel.isLive || page.closed || Boolean(orders?.busy));
}

/** @param {boolean} disabled @param {{amount: number, currency: string} | null} total */
function paintOrder(disabled, total) {
  const buy = /** @type {HTMLButtonElement | null} */ (document.querySelector("#buy"));
  if (!buy) return;
  buy.disabled = disabled;
  buy.textContent = total && stock?.choice ? say("buy-for", { total: money(total) }) : say("buy");
  if (orders?.busy) buy.setAttribute("aria-busy", "true");
  else buy.removeAttribute("aria-busy");
}

/** @param {string} label */
function chip(label) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.setAttribute("aria-label", say("remove", { seat: map?.name(label) ?? label }));
  button.addEventListener("click", () => map?.toggle(label));
  item.append(button);
  return item;
}

map?.addEventListener("choice", () => {
  if (map.chosen.size) stock?.clear();
  paintChoice();
});
map?.addEventListener("announce", (event) => announce(/** @type {CustomEvent<string>} */ (event).detail));
map?.addEventListener("lost", (event) => warn(lostWords(/** @type {CustomEvent<string[]>} */ (event).detail)));
stock?.addEventListener("choice", () => {
  if (stock.choice) map?.clear();
  paintChoice();
  announce(count("places", stock.choice?.quantity ?? 0));
});

stock?.addEventListener("announce", (event) => announce(/** @type {CustomEvent<string>} */ (event).detail));
stock?.addEventListener("lost", (event) => warn(/** @type {CustomEvent<string>} */ (event).detail));

/** @param {string[]} labels */
function lostWords(labels) {
  return count("lost", labels.length, { seats: listed(labels) });
}

// --- orders

orders?.addEventListener("busy", () => {
  if (orders.busy) warn("");
  paintChoice();
});
orders?.addEventListener("refused", (event) => refuse(/** @type {CustomEvent<import("../sessions_app/api.js").Problem>} */ (event).detail));
orders?.addEventListener("again", () => {
  stock?.clear();
  paintChoice();
});

/** Say that an order of this session is under way; its page tells the rest. @param {string} id */
function showOrder(id) {
  const notice = one("#own-order");
  /** @type {HTMLAnchorElement} */ (notice.querySelector("a")).href = `/orders/${id}`;
  notice.hidden = false;
}

/** @param {{id: string, status: string}} message */
async function takeOrder({ id, status }) {
  const isKnown = ordered.has(id);
  ordered.add(id);
  const isUnfinished = status === "PENDING" || status === "PROCESSING";
  if (!isUnfinished) {
    const shown = /** @type {HTMLAnchorElement} */ (one("#own-order a")).getAttribute("href");
    if (shown === `/orders/${id}`) one("#own-order").hidden = true;
  } else if (!isKnown) {
    const answer = await get(`/orders/${id}`);
    if (answer.ok && answer.body.session === page.id && !orders?.busy) showOrder(id);
  }
}

// --- holds

hold.addEventListener("click", () => {
  const seats = [...(map?.chosen ?? [])];
  ask(hold, stock?.choice ? { ticket_type: stock.choice.type, quantity: stock.choice.quantity } : { seats });
});

best?.addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = new FormData(best);
  const [quantity, type] = [Number(fields.get("quantity")), fields.get("ticket_type")];
  const accessible = fields.get("accessible") === "yes";
  map?.clear();
  ask(bestButton(), { best_available: { quantity, ...(type && { ticket_type: type }), ...(accessible && { accessible }) } });
});

/** Request places, all or none. @param {HTMLButtonElement} button @param {object} what */
async function ask(button, what) {
  if (asks) return;
  asks = true;
  warn("");
  button.setAttribute("aria-busy", "true");
  if (map) map.asking = true;
  paintChoice();
  const answer = await post("/reservations", { session: page.id, ...(page.lane_code && { lane_code: page.lane_code }), ...what }, { wait: 5 });
  asks = false;
  button.removeAttribute("aria-busy");
  if (answer.ok) {
    panel.show(answer.body, true);
    if (button !== hold) map?.reveal(answer.body.seats);
  } else refuse(answer.problem);
  if (map) map.asking = panel.reservation?.status === "queued";
  paintChoice();
}

/** @param {import("../sessions_app/api.js").Problem} problem */
function refuse(problem) {
  const lost = (problem.conflicts ?? []).map((/** @type {{seat: string}} */ conflict) => conflict.seat);
  if (problem.code === "seats_unavailable" && lost.length) {
    map?.apply(Object.fromEntries(problem.conflicts.map(statusOf)));
    map?.lose(lost);
  } else if (problem.code === "rate_limited" || problem.status === 503) warn(count("busy", problem.retry_after));
  else if (!problem.status) warn(say("no-answer"));
  else if (problem.code === "not_resent") warn(say("not-resent"));
  else if (problem.code === "csrf_failed" || problem.code === "not_authenticated") warn(say("reload"));
  else warn([problem.errors?.[0]?.message ?? problem.detail ?? say("failed"), problem.status === 429 && count("again", problem.retry_after)].filter(Boolean).join(" "));
  one("#choice-message").focus();
}

/** @param {{seat: string, reason: string}} conflict */
function statusOf({ seat, reason }) {
  return [seat, { held: "h", sold: "s", blocked: "b" }[reason] ?? "h"];
}

panel.addEventListener("change", (event) => {
  const { now } = /** @type {CustomEvent<{now: Reservation}>} */ (event).detail;
  if (now.status === "confirmed") bought.set(now.id, now.seats);
  paintOwn();
  if (now.status === "held") {
    stock?.clear();
    map?.clear();
  }
  if (map && now.status !== "queued") map.asking = false;
  if (now.status === "rejected") {
    panel.root.hidden = true;
    refuse({ status: 409, code: now.reason ?? "", conflicts: now.conflicts ?? [] });
  }
  paintChoice();
});

function paintOwn() {
  const { reservation: now } = panel;
  map?.own([...[...bought.values()].flat(), ...(now && panel.isLive && now.status !== "queued" ? now.seats : [])]);
}

payWith(/** @type {HTMLFormElement} */ (one("#payment")), panel);
one('[data-part="again"]')?.addEventListener("click", () => {
  panel.root.hidden = true;
  /** @type {HTMLElement | null} */ (document.querySelector('[data-seat][tabindex="0"]'))?.focus();
});

// --- news of the server

const feed = new VersionedFeed({
  version: page.version,
  fetch: async () => {
    const answer = await get(`/sessions/${page.id}/seats?format=compact`);
    if (!answer.ok) throw new Error(answer.problem.code);
    return answer.body;
  },
  replace: (snapshot) => map?.replace(snapshot.seats),
  apply: (diff) => map?.apply(diff.changes),
});

new LiveSocket(`/ws/sessions/${page.id}`, {
  silence: SILENCE,
  state: (state) => {
    const pill = one("#connection");
    pill.dataset.state = state;
    one("#connection-text").textContent = say(`connection-${state}`);
  },
  message: (message) => {
    if (message.type === "hello") feed.hello(message);
    else if (message.type === "seats") feed.take(message);
    else if (message.type === "ticket:update") stock?.update(message.ticket_type, message.available);
  },
});

const SHOWN = new Set(["queued", "held", "paying", "confirmed"]); // the others ended without places

function listen() {
  new LiveSocket("/ws/me", {
    message: (message) => {
      if (message.type === "order:update") takeOrder(message);
      if (message.type !== "reservation:update") return;
      if (message.id === panel.reservation?.id) panel.take(message);
      else if (!SHOWN.has(message.status)) return;
      else if (message.status === "confirmed" || (!panel.isLive && !asks)) adopt(message.id);
    },
  });
}

/**
 * Show a reservation of this session that was made before a reload or in another tab, or that was paid for and moved.
 * @param {string} id
 */
async function adopt(id) {
  const answer = await get(`/reservations/${id}`);
  if (!answer.ok || answer.body.session !== page.id) return;
  if (answer.body.status === "confirmed") {
    bought.set(id, answer.body.seats);
    paintOwn();
  } else if (!panel.isLive && !ordered.has(id) && ["queued", "held", "paying"].includes(answer.body.status)) panel.show(answer.body);
}

async function recall() {
  const [answer, ownOrders] = await Promise.all([get(`/reservations?session=${page.id}&limit=50`), get("/orders?limit=50")]);
  if (!answer.ok) return;
  for (const { id, session, status } of ownOrders.ok ? ownOrders.body.results : []) {
    ordered.add(id);
    if (session === page.id && (status === "PENDING" || status === "PROCESSING")) showOrder(id);
  }
  /** @type {Reservation[]} */
  const own = answer.body.results.filter((/** @type {Reservation} */ { session }) => session === page.id);
  own.filter(({ status }) => status === "confirmed").forEach(({ id, seats }) => bought.set(id, seats));
  paintOwn();
  const live = own.find(({ id, status }) => ["queued", "held", "paying"].includes(status) && !ordered.has(id));
  if (live) panel.show(live);
}

if (opensAt > serverNow()) {
  setTimeout(() => {
    one("#not-open")?.setAttribute("hidden", "");
    document.querySelector("#buy-from")?.setAttribute("hidden", "");
    paintChoice();
  }, Math.min(opensAt - serverNow(), 2 ** 31 - 1));
}
paintChoice();
whenKnown(() => {
  listen();
  recall();
  if (orders?.resume()) warn(say("resumed"));
});
if (isKnown()) becomeKnown(); // a visitor who was never here has nothing to recall
document.documentElement.dataset.ready = "true";
