// @ts-check
/** The counter's map: the form shows the seats chosen on the map, and the map shows the seats typed in the form. */

import { VersionedFeed } from "../realtime/feed.js";
import { LiveSocket } from "../realtime/socket.js";
import { get } from "../sessions_app/api.js";
import { SeatMap } from "../sessions_app/seat-map.js";
import { count, money, say } from "../sessions_app/words.js";

/** @param {string} selector @returns {HTMLElement} */
const one = (selector) => /** @type {HTMLElement} */ (document.querySelector(selector));
const page = JSON.parse(one("#session-data").textContent ?? "{}");
const SILENCE = 40_000; // milliseconds; the server speaks every 15 s

const field = /** @type {HTMLInputElement} */ (one("#seats"));
const map = new SeatMap(one("[data-plan]"), page.types, page.most);
/** @type {Map<string, {amount: number, currency: string}>} */
const prices = new Map(page.types.map((/** @type {{id: string, price: object}} */ type) => [type.id, type.price]));

function paint() {
  const chosen = [...map.chosen];
  field.value = chosen.join(", ");
  const each = chosen.flatMap((label) => prices.get(map.seats.get(label)?.type ?? "") ?? []);
  const amount = each.reduce((sum, price) => sum + price.amount, 0);
  one("#places").textContent = chosen.length ? count("places", chosen.length) : say("nothing-chosen");
  one("#total").textContent = each.length ? money({ amount, currency: each[0].currency }) : "";
}

/** @param {string} text */
function announce(text) {
  one("#announcer").textContent = "";
  requestAnimationFrame(() => (one("#announcer").textContent = text));
}

field.addEventListener("change", () => {
  const typed = field.value.toUpperCase().split(/[\s,;]+/).filter(Boolean);
  const known = new Map([...map.seats.keys()].map((label) => [label.toUpperCase(), label]));
  const labels = typed.map((label) => known.get(label) ?? label);
  map.clear();
  labels.filter((label) => map.seats.get(label)?.status === "f").forEach((label) => map.toggle(label));
  if (labels.some((label) => !map.chosen.has(label))) field.value = labels.join(", "); // the server says what is wrong with it
});
map.addEventListener("choice", paint);
map.addEventListener("announce", (event) => announce(/** @type {CustomEvent<string>} */ (event).detail));
map.addEventListener("lost", (event) => {
  const labels = /** @type {CustomEvent<string[]>} */ (event).detail;
  announce(count("lost", labels.length, { seats: labels.join(", ") }));
  paint();
});

const feed = new VersionedFeed({
  version: page.version,
  fetch: async () => {
    const answer = await get(`/sessions/${page.id}/seats?format=compact`);
    if (!answer.ok) throw new Error(answer.problem.code);
    return answer.body;
  },
  replace: (snapshot) => map.replace(snapshot.seats),
  apply: (diff) => map.apply(diff.changes),
});

new LiveSocket(`/ws/sessions/${page.id}`, {
  silence: SILENCE,
  state: (state) => {
    one("#connection").dataset.state = state;
    one("#connection-text").textContent = say(`connection-${state}`);
  },
  message: (message) => {
    if (message.type === "hello") feed.hello(message);
    else if (message.type === "seats") feed.take(message);
  },
});

document.documentElement.dataset.ready = "true";
