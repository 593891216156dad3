// @ts-check
/**
 * An order's own page. The server writes it; this script fetches it again when the order's state changes, and replaces the parts.
 * The sentence about it stays the same element, so that a screen reader says each change once.
 *
 * @typedef {{status: string, message: string, place_in_line: number | null}} Order
 */

import { LiveSocket } from "../realtime/socket.js";
import { get } from "../sessions_app/api.js";
import { count, say } from "../sessions_app/words.js";

const POLL = 2_500; // milliseconds between requests while the socket is silent
const UNFINISHED = new Set(["PENDING", "PROCESSING"]);

const root = /** @type {HTMLElement} */ (document.querySelector("#order"));
const said = /** @type {HTMLElement} */ (document.querySelector("#order-said"));
const id = root.dataset.order ?? "";
let looking = false;
let again = false;
let timer = 0;

/** Ask for the order's state; repeat if another question came in the meantime. */
async function look() {
  clearTimeout(timer);
  if (looking) {
    again = true;
    return;
  }
  looking = true;
  const answer = await get(`/orders/${id}`);
  if (answer.ok) await show(answer.body);
  looking = false;
  if (again) {
    again = false;
    return look();
  }
  if (UNFINISHED.has(root.dataset.status ?? "")) timer = setTimeout(look, POLL * (0.75 + Math.random() / 2));
}

/** @param {Order} order */
async function show(order) {
  if (order.status !== root.dataset.status || order.message !== said.textContent) await fetchPage();
  const ahead = root.querySelector('[data-part="ahead"]');
  if (ahead && order.place_in_line !== null) ahead.textContent = words(order.place_in_line - 1);
}

/** @param {number} ahead */
const words = (ahead) => (ahead ? count("ahead", ahead) : say("ahead.none"));

async function fetchPage() {
  const response = await fetch(location.href, { cache: "no-store", credentials: "same-origin" }).catch(() => null);
  if (!response?.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = /** @type {HTMLElement | null} */ (page.querySelector("#order"));
  const words = page.querySelector("#order-said")?.textContent ?? "";
  if (!fresh) return;
  const hadFocus = root.contains(document.activeElement);
  for (const part of ["head", "rest"]) {
    const mine = root.querySelector(`:scope > [data-part="${part}"]`);
    const theirs = fresh.querySelector(`:scope > [data-part="${part}"]`);
    if (mine && theirs) mine.replaceWith(document.adoptNode(theirs));
  }
  root.dataset.status = fresh.dataset.status;
  document.title = page.title;
  if (said.textContent !== words) said.textContent = words;
  if (hadFocus) /** @type {HTMLElement} */ (root.querySelector("#order-title")).focus();
}

if (UNFINISHED.has(root.dataset.status ?? "")) {
  new LiveSocket("/ws/me", {
    message: (message) => {
      if (message.type === "order:update" && message.id === id) look();
    },
  });
  addEventListener("pageshow", (event) => event.persisted && look());
  document.addEventListener("visibilitychange", () => document.hidden || look());
  look();
}
document.documentElement.dataset.ready = "true";
