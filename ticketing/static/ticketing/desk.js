// @ts-check
/** The box office's map: staff choose any seat, see its holder, and act without leaving the page. */

import { VersionedFeed } from "../realtime/feed.js";
import { LiveSocket } from "../realtime/socket.js";
import { get, signed } from "../sessions_app/api.js";
import { SeatMap } from "../sessions_app/seat-map.js";
import { count, language, listed, say, zone } from "../sessions_app/words.js";

/**
 * @typedef {{reservation: string, buyer: string, name: string, status: string, status_name: string, held_until: string | null,
 *   seats: string[], places: number, link: string}} Holder
 * @typedef {{id: string, version: number, holders: string | null, types: import("../sessions_app/seat-map.js").TicketType[]}} Page
 */

/** @param {string} selector @returns {HTMLElement} */
const one = (selector) => /** @type {HTMLElement} */ (document.querySelector(selector));
/** @param {string} selector @returns {HTMLInputElement | null} */
const field = (selector) => document.querySelector(selector);
/** @type {Page} */
const page = JSON.parse(one("#session-data").textContent ?? "{}");
const SILENCE = 40_000; // milliseconds; the server speaks every 15 s
const SOON = 1_000; // milliseconds in which changes gather before the list is loaded again
const MOST_ASKED = 200; // seats whose holders are looked up at most

const plan = /** @type {HTMLElement | null} */ (document.querySelector("[data-plan]"));
const map = plan && new SeatMap(plan, page.types, Infinity, { desk: true });
const form = /** @type {HTMLFormElement | null} */ (document.querySelector("#desk-form"));
const [seatsField, toField] = [field("#seats"), field("#to")];
const clock = new Intl.DateTimeFormat(language, { timeStyle: "medium", timeZone: zone });
const numbers = new Intl.NumberFormat(language);

/** The holders of the chosen seats. @type {Holder[]} */
let holders = [];
/** The reservation that moves to other seats, and the seats that it leaves. @type {{holder: Holder, seats: string[]} | null} */
let moving = null;
let asked = 0;
let isBusy = false;

/** @param {string} text */
function announce(text) {
  one("#announcer").textContent = "";
  requestAnimationFrame(() => (one("#announcer").textContent = text));
}

/** @param {string} text @param {boolean} [done] */
function tell(text, done = false) {
  one("#told").hidden = !text;
  one("#told").textContent = text;
  one("#told").dataset.done = String(done);
}

/** “A1, A2”, as people write it. @param {string} text */
const labelsOf = (text) => text.split(/[\s,;]+/).filter(Boolean);

// --- chosen seats and their holders

/** @param {string[]} labels @returns {string[]} */
const taken = (labels) => labels.filter((label) => "hs".includes(map?.seats.get(label)?.status ?? "f"));

/** Return the only reservation of all chosen seats, or null. @returns {Holder | null} */
function soleHolder() {
  const chosen = [...(map?.chosen ?? [])];
  const [holder] = holders;
  return chosen.length && holders.length === 1 && chosen.every((label) => holder?.seats.includes(label)) ? holder ?? null : null;
}

async function learnHolders() {
  const labels = taken([...(map?.chosen ?? [])]);
  const mine = ++asked;
  if (!page.holders || !labels.length || labels.length > MOST_ASKED) {
    holders = [];
    paint();
    return;
  }
  const found = await fetchHolders(`?seats=${encodeURIComponent(labels.join(","))}`);
  if (mine !== asked || !found) return;
  holders = found;
  paint();
}

/** @param {string} query @returns {Promise<Holder[] | null>} */
async function fetchHolders(query) {
  try {
    const response = await fetch(`${page.holders}${query}`, { headers: { Accept: "application/json" }, cache: "no-cache" });
    return response.ok ? (await response.json()).holders : null;
  } catch {
    return null;
  }
}

/** @param {Holder} holder */
function untilOf({ held_until: end }) {
  return end ? say("until", { time: clock.format(new Date(end)) }) : "";
}

/** @param {Holder} holder */
function ofChosen(holder) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = holder.link;
  link.textContent = holder.name;
  const all = document.createElement("button");
  all.type = "button";
  all.className = "order small";
  all.textContent = say("all-seats");
  all.addEventListener("click", () => map?.choose(holder.seats));
  const facts = document.createElement("span");
  facts.className = "soft";
  facts.textContent = [holder.seats.join(", "), holder.status_name, untilOf(holder)].filter(Boolean).join(" · ");
  item.append(link, facts);
  if (!moving) item.append(all);
  return item;
}

/** @param {string} value */
const order = (value) => /** @type {HTMLButtonElement | null} */ (form?.querySelector(`[name="action"][value="${value}"]`));

/** @param {string} value @param {boolean} possible */
function allow(value, possible) {
  order(value)?.toggleAttribute("disabled", !possible || isBusy);
}

function paint() {
  if (!map) return;
  const chosen = [...map.chosen];
  const statuses = chosen.map((label) => map.seats.get(label)?.status);
  const shown = moving ? moving.seats : chosen;
  if (seatsField && document.activeElement !== seatsField) seatsField.value = shown.join(", ");
  if (toField && document.activeElement !== toField) toField.value = moving ? chosen.join(", ") : "";
  const read = document.querySelector("#seats-read");
  if (read) read.textContent = chosen.length ? chosen.join(", ") : say("nothing-chosen");
  const unheld = chosen.length - taken(chosen).length;
  const items = (moving ? [moving.holder] : holders).map(ofChosen);
  if (unheld && !moving) {
    const rest = document.createElement("li");
    rest.className = "soft";
    rest.textContent = count("unheld", unheld);
    items.push(rest);
  }
  one("#of-chosen").replaceChildren(...items);
  paintOrders(statuses);
}

/** @param {(string | undefined)[]} statuses of the chosen seats */
function paintOrders(statuses) {
  if (!form) return;
  const move = order("move");
  for (const value of ["block", "unblock", "release"]) order(value)?.toggleAttribute("hidden", Boolean(moving));
  seatsField?.toggleAttribute("readonly", Boolean(moving));
  form.querySelector("#to-field")?.toggleAttribute("hidden", !moving);
  form.querySelector("#stay")?.toggleAttribute("hidden", !moving);
  const help = form.querySelector("#to-help");
  help?.toggleAttribute("hidden", !moving);
  if (help) help.textContent = moving ? count("choose-free", moving.seats.length) : "";
  if (move) move.textContent = say(moving ? "move-here" : "move");
  allow("block", statuses.includes("f"));
  allow("unblock", statuses.includes("b"));
  allow("release", soleHolder() !== null);
  allow("move", moving ? statuses.length === moving.seats.length : Boolean(soleHolder()?.seats.length));
}

map?.addEventListener("choice", () => {
  paint();
  if (!moving) learnHolders();
});
map?.addEventListener("announce", (event) => announce(/** @type {CustomEvent<string>} */ (event).detail));
map?.addEventListener("lost", (event) => {
  const seats = /** @type {CustomEvent<string[]>} */ (event).detail;
  tell(count("lost", seats.length, { seats: listed(seats) }));
});

/** @param {HTMLInputElement | null} input @param {boolean} whileMoving */
function chooseByName(input, whileMoving) {
  input?.addEventListener("input", () => {
    if (map && Boolean(moving) === whileMoving) {
      map.choose(labelsOf(input.value).filter((label) => map.seats.has(label) && map.mayChoose(/** @type {any} */ (map.seats.get(label)))));
    }
  });
}

chooseByName(seatsField, false);
chooseByName(toField, true);

// --- moving: staff choose free seats in place of the chosen ones

function startMoving() {
  const holder = soleHolder();
  if (!map || !holder) return;
  moving = { holder, seats: [...map.chosen] };
  map.mayChoose = (seat) => seat.status === "f";
  map.most = moving.seats.length;
  map.clear();
  map.own(moving.seats);
  tell("");
  announce(count("choose-free", moving.seats.length));
  /** @type {HTMLElement | null} */ (plan?.querySelector('[data-seat][tabindex="0"]'))?.focus();
}

/** @param {string[]} chosen what stays chosen afterwards */
function stopMoving(chosen) {
  if (!map || !moving) return;
  moving = null;
  holders = [];
  map.own([]);
  map.mayChoose = () => true;
  map.most = Infinity;
  map.choose(chosen);
}

form?.querySelector("#stay")?.addEventListener("click", () => moving && stopMoving(moving.seats));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && moving && !one("#sure").hasAttribute("open")) stopMoving(moving.seats);
});

// --- actions

/** @param {Holder | undefined} holder @returns {Promise<boolean>} */
function isSure(holder) {
  const dialog = /** @type {HTMLDialogElement} */ (one("#sure"));
  const places = holder?.seats.length ? listed(holder.seats) : count("places", holder?.places ?? 0);
  one("#sure-text").textContent = say("sure", { places, name: holder?.name ?? "" });
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

/** @param {Record<string, string>} facts */
async function send(facts) {
  isBusy = true;
  paint();
  let done = false;
  try {
    const response = await signed((token) =>
      fetch(location.pathname, {
        method: "POST",
        headers: { Accept: "application/json", "X-CSRFToken": token },
        body: new URLSearchParams({ confirmed: "yes", ...facts }),
      }),
    );
    if (response.redirected) location.reload(); // signed out in the meantime
    const answer = response.headers.get("Content-Type")?.startsWith("application/json") ? await response.json() : { text: say("failed") };
    done = Boolean(answer.done);
    tell(answer.text, done);
  } catch {
    tell(say("no-answer"));
  }
  isBusy = false;
  refreshSoon();
  return done;
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!map || isBusy) return;
  const action = /** @type {HTMLButtonElement | null} */ (event.submitter)?.value ?? "";
  if (!["block", "unblock", "release", "move"].includes(action)) return;
  const seats = [...map.chosen].join(",");
  const holder = soleHolder();
  if (action === "move" && !moving) startMoving();
  else if (action === "move" && moving) {
    const to = [...map.chosen];
    if (await send({ action, seats: moving.seats.join(","), to: to.join(","), reservation: moving.holder.reservation })) stopMoving(to);
  } else if (action === "release") {
    if (holder && (await isSure(holder))) await send({ action, seats, reservation: holder.reservation });
  } else await send({ action, seats });
  paint();
  learnHolders();
});

// --- the list

/** @type {Map<string, Holder>} */
const known = new Map();
let refresh = 0;

/** @param {Holder} holder */
function row(holder) {
  const template = /** @type {HTMLTemplateElement} */ (one("#holder"));
  const copy = /** @type {HTMLElement} */ (/** @type {DocumentFragment} */ (template.content.cloneNode(true)).firstElementChild);
  /** @param {string} name */
  const part = (name) => /** @type {HTMLElement} */ (copy.querySelector(`[data-part="${name}"]`));
  copy.dataset.holder = holder.reservation;
  part("seats").textContent = holder.seats.join(", ") || numbers.format(holder.places);
  part("name").textContent = holder.name;
  part("status").textContent = holder.status_name;
  part("status").dataset.status = holder.status;
  part("until").textContent = holder.held_until ? clock.format(new Date(holder.held_until)) : "";
  part("link").setAttribute("href", holder.link);
  const release = /** @type {HTMLButtonElement | null} */ (copy.querySelector('[data-part="release"]'));
  if (release) [release.value, release.hidden] = [holder.reservation, holder.status === "confirmed"];
  return copy;
}

async function refreshList() {
  refresh = 0;
  if (!page.holders || document.hidden) return;
  const found = await fetchHolders("");
  if (!found) return;
  known.clear();
  found.forEach((holder) => known.set(holder.reservation, holder));
  const focused = /** @type {HTMLElement | null} */ (document.activeElement?.closest("[data-holder]"))?.dataset.holder;
  const part = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.part;
  one("#holders").replaceChildren(...found.map(row));
  one("#nobody").hidden = found.length > 0;
  if (focused) /** @type {HTMLElement | null} */ (document.querySelector(`[data-holder="${focused}"] [data-part="${part}"]`))?.focus();
}

function refreshSoon() {
  if (page.holders && !refresh) refresh = setTimeout(refreshList, SOON);
}

document.querySelector("#holders-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const reservation = /** @type {HTMLButtonElement | null} */ (/** @type {SubmitEvent} */ (event).submitter)?.value ?? "";
  if (reservation && (await isSure(known.get(reservation)))) await send({ action: "release", reservation });
});
document.addEventListener("visibilitychange", () => document.hidden || refreshSoon());

// --- news of the server

function paintTally() {
  if (!map) return;
  /** @type {Record<string, number>} */
  const tally = { s: 0, h: 0, f: 0, b: 0 };
  for (const { status } of map.seats.values()) tally[status] = (tally[status] ?? 0) + 1;
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-count]"))) {
    element.textContent = numbers.format(tally[element.dataset.count ?? ""] ?? 0);
  }
}

/** @param {Iterable<string>} labels */
function changed(labels) {
  paintTally();
  refreshSoon();
  paint();
  if (!moving && [...labels].some((label) => map?.chosen.has(label))) learnHolders();
}

const feed = new VersionedFeed({
  version: page.version,
  fetch: async () => {
    const answer = await get(`/sessions/${page.id}/seats?format=compact`);
    if (!answer.ok) throw new Error(answer.problem.code);
    return answer.body;
  },
  replace: (snapshot) => {
    map?.replace(snapshot.seats);
    changed(map?.chosen ?? []);
  },
  apply: (diff) => {
    map?.apply(diff.changes);
    changed(Object.keys(diff.changes));
  },
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
    else if (message.type === "ticket:update") {
      const left = document.querySelector(`[data-stock="${CSS.escape(message.ticket_type)}"]`);
      if (left) left.textContent = numbers.format(message.available);
      refreshSoon();
    }
  },
});

if (map) map.mayChoose = () => true;
paint();
refreshList();
document.documentElement.dataset.ready = "true";
