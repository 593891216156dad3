// @ts-check
/** The scanner: asks the box office about each code; without a connection it judges by itself, and tells later. */

import { newKey, once } from "../sessions_app/api.js";
import { language, money, say } from "../sessions_app/words.js";
import { judge, plain, shortOf, spelled } from "./gate-codes.js";

/**
 * @typedef {import("./gate-codes.js").Listed} Listed
 * @typedef {{scan: string, code: string, gate: string, at: number, seat: string, digest: string, paid: boolean}} Scan of which the box office has not heard
 * @typedef {{code: string, seat: string, ours: number, theirs?: string, gate?: string, why?: string}} Quarrel
 * @typedef {{word: string, kind: "in" | "bad" | "warn" | "none", seat?: string, more?: string}} Verdict
 */

const PATIENCE = 3_000; // milliseconds that people wait at a gate; then this phone judges by itself
const BETWEEN_TRIES = 5_000;
const SAME_PICTURE = 4_000; // the camera goes on seeing a ticket that was just judged
const LOOK = 150;
const LEAST_REFRESH = 30_000;
const REFRESH_A_TICKET = 10; // milliseconds for each on the list: sixty thousand are fetched each ten minutes

const page = JSON.parse(document.getElementById("gate-data")?.textContent ?? "{}");
const one = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const clock = new Intl.DateTimeFormat(language, { timeStyle: "short" });
const numbers = new Intl.NumberFormat(language);
const gateName = /** @type {HTMLInputElement} */ (one("gate-name"));
const field = /** @type {HTMLInputElement} */ (one("code"));
const collect = /** @type {HTMLButtonElement} */ (one("collect"));
/** The code of a ticket whose money is still to be taken. */
let unpaid = "";

/** What survives a reload. @template T @param {string} name @param {T} empty @returns {T} */
function kept(name, empty) {
  try {
    return JSON.parse(localStorage.getItem(`gate:${page.session}:${name}`) ?? "null") ?? empty;
  } catch {
    return empty;
  }
}

/** @param {string} name @param {unknown} value */
const keep = (name, value) => localStorage.setItem(`gate:${page.session}:${name}`, JSON.stringify(value));

/** @type {Scan[]} */
const queue = kept("queue", []);
/** @type {Quarrel[]} */
let quarrels = kept("quarrels", []);
/** By digest, what this phone let in since the list was made. @type {Map<string, {at: number, gate: string}>} */
const own = new Map(queue.map(({ digest, at, gate }) => [digest, { at, gate }]));
/** @type {Map<string, Listed> | null} */
let list = null;
let online = true;
let telling = false;
let fetchedAt = 0;

// --- what people see

/** @param {Verdict} verdict */
function show({ word, kind, seat = "", more = "" }) {
  collect.hidden = true;
  one("verdict").dataset.kind = kind;
  one("verdict-word").textContent = say(word);
  one("verdict-seat").textContent = seat;
  one("verdict-more").textContent = more;
  if (kind === "in") navigator.vibrate?.(80);
  else if (kind === "bad") navigator.vibrate?.([80, 60, 80, 60, 160]);
}

/** @param {"online" | "offline" | "signed-out"} state */
function line(state) {
  online = state === "online";
  one("line").dataset.state = state;
  one("line-text").textContent = say(`line-${state}`);
}

function paint() {
  const used = new Set(own.keys());
  for (const { digest, status } of list?.values() ?? []) if (status === "used") used.add(digest);
  one("came").textContent = numbers.format(used.size);
  one("waiting").textContent = numbers.format(queue.length);
  one("quarrels").hidden = !quarrels.length;
  one("quarrel-list").replaceChildren(
    ...quarrels.map(({ code, seat, ours, theirs, gate, why }) => {
      const facts = { code: spelled(shortOf(code)), seat, ours: clock.format(ours) };
      const item = document.createElement("li");
      item.textContent = theirs
        ? say("quarrel-used", { ...facts, theirs: clock.format(new Date(theirs)), gate: gate || "–" })
        : say("quarrel", { ...facts, why: why ?? "" });
      return item;
    }),
  );
}

/** @param {string | null | undefined} seat @param {string | undefined} type */
const place = (seat, type) => (seat ? say("seat", { seat, type: type ?? "" }) : (type ?? ""));

/** @param {string | number} at @param {string} gate */
const whenAndWhere = (at, gate) => say(gate ? "used-when" : "used-time", { time: clock.format(new Date(at)), gate });

/** Take the money, then press; a ticket that is to be paid for lets nobody in before. @param {string} code @param {{amount: number, currency: string}} due @param {string} [seat] */
function askForMoney(code, due, seat) {
  show({ word: "due", kind: "warn", seat, more: money(due) });
  unpaid = code;
  collect.hidden = false;
  collect.textContent = say("collect", { amount: money(due) }); // not focused: a scanner types Enter
}

// --- judging

/** @param {string} code @param {boolean} [paid] */
async function check(code, paid = false) {
  show({ word: "checking", kind: "none" });
  /** @type {Scan} */
  const scan = { scan: newKey(), code: plain(code), gate: gateName.value.trim(), at: Date.now(), seat: "", digest: "", paid };
  const answer = await once("POST", "/checkins", {
    body: { code: scan.code, gate: scan.gate, session: page.session, scan: scan.scan, ...(paid && { paid }) },
    timeout: PATIENCE,
  });
  if (!answer.ok && isSilence(answer.status)) return judgeAlone(scan);
  line(answer.status === 401 || answer.status === 403 ? "signed-out" : "online");
  if (!answer.ok && answer.problem.code === "payment_due") askForMoney(scan.code, answer.problem.due);
  else show(answer.ok ? letIn(answer.body) : refusal(answer.problem));
  if (answer.ok) await remember(scan);
  tell();
}

/** Nobody answered, or nobody who knows. @param {number} status */
const isSilence = (status) => status === 0 || status === 429 || status >= 500;

/** @param {{seat: string | null, ticket_type: {name: string}, concession: {name: string, note: string} | null}} body @returns {Verdict} */
const letIn = ({ seat, ticket_type, concession }) => ({
  word: "in",
  kind: "in",
  seat: place(seat, ticket_type.name),
  more: concession ? askFor(concession.name, concession.note) : "",
});

/** What entitles them to pay less. @param {string} concession @param {string} [note] */
const askFor = (concession, note) => say(note ? "ask-for" : "ask-for-proof", { concession, note: note ?? "" });

/** @param {import("../sessions_app/api.js").Problem} problem @returns {Verdict} */
function refusal({ code, reason, used_at, gate, detail }) {
  switch (code) {
    case "already_used":
      return { word: "used", kind: "bad", more: whenAndWhere(used_at, gate) };
    case "ticket_void":
      return { word: "void", kind: "bad", more: say(`void-${reason}`) };
    case "wrong_session":
      return { word: "wrong", kind: "bad" };
    case "bad_signature":
      return { word: "forged", kind: "bad" };
    case "unknown_code":
      return { word: "unknown", kind: "bad" };
    case "invalid":
      return { word: "unknown", kind: "bad" };
    case "not_authenticated":
    case "bad_token":
    case "forbidden":
    case "csrf_failed":
      return { word: "refused", kind: "warn", more: say("refused-more") };
    default:
      return { word: "cannot", kind: "warn", more: detail };
  }
}

/** @param {Scan} scan */
async function judgeAlone(scan) {
  line("offline");
  const { kind, digest = "", listed } = await judge(scan.code, { session: page.session, keys: page.keys, list });
  const before = own.get(digest);
  const seat = place(listed?.seat, listed?.ticket_type);
  if (before) show({ word: "used", kind: "bad", seat, more: whenAndWhere(before.at, before.gate) });
  else if (kind === "used") show({ word: "used", kind: "bad", seat, more: whenAndWhere(listed?.used_at ?? "", listed?.gate ?? "") });
  else if (kind === "void") show({ word: "void", kind: "bad", seat, more: say("void-") });
  else if (kind === "unlisted") show({ word: "unknown", kind: "warn", more: say("unlisted") });
  else if (kind === "cannot") show({ word: "cannot", kind: "warn", more: say("cannot-more") });
  else if (kind !== "in") show({ word: kind, kind: "bad" });
  else if (listed?.due && !scan.paid) askForMoney(scan.code, listed.due, seat);
  else {
    queue.push({ ...scan, digest, seat: listed?.seat ?? "" });
    keep("queue", queue);
    own.set(digest, { at: scan.at, gate: scan.gate });
    show({ word: "in-alone", kind: "in", seat, more: listed?.concession ? askFor(listed.concession) : "" });
  }
  paint();
}

/** @param {Scan} scan let in by the box office */
async function remember({ code, at, gate }) {
  const { digest } = await judge(code, { session: page.session, keys: page.keys, list });
  if (digest) own.set(digest, { at, gate });
  paint();
}

// --- telling later

/** Send what the box office has not heard, oldest first, until nobody answers. */
async function tell() {
  if (telling) return;
  telling = true;
  try {
    while (queue.length && (await tellOne(queue[0]))) {
      queue.shift();
      keep("queue", queue);
      paint();
    }
  } finally {
    telling = false;
  }
}

/** Whether it is told. @param {Scan} scan */
async function tellOne({ scan, code, gate, at, seat, paid }) {
  const seconds_ago = Math.min(86_400, Math.max(1, Math.round((Date.now() - at) / 1_000)));
  const answer = await once("POST", "/checkins", {
    body: { code, gate, session: page.session, scan, seconds_ago, ...(paid && { paid }) },
    timeout: 2 * PATIENCE,
  });
  if (!answer.ok && isSilence(answer.status)) {
    line("offline");
    return false;
  }
  const signedOut = answer.status === 401 || answer.status === 403;
  line(signedOut ? "signed-out" : "online");
  if (signedOut) return false;
  if (!answer.ok) {
    const { used_at, gate: theirs, detail } = answer.problem;
    quarrels.push({ code, seat, ours: at, theirs: used_at, gate: theirs, why: detail });
    keep("quarrels", quarrels);
  }
  return true;
}

async function fetchList() {
  const answer = await once("GET", page.list, { timeout: 10 * PATIENCE });
  fetchedAt = Date.now();
  line(answer.ok ? "online" : isSilence(answer.status) ? "offline" : "signed-out");
  if (answer.ok) {
    useList(answer.body);
    await (await store())?.put(page.list, new Response(JSON.stringify(answer.body)));
  } else if (!list) {
    const before = await (await store())?.match(page.list);
    if (before) useList(await before.json());
  }
}

/** @param {{tickets: Listed[], keys: import("./gate-codes.js").Key[]}} told */
function useList({ tickets, keys }) {
  list = new Map(tickets.map((row) => [row.digest, row]));
  page.keys = keys;
  paint();
}

/** What the browser keeps of this page; nothing where it isn't served safely. */
const store = async () => globalThis.caches?.open("frontrow-gate");

/** Keep the list fresh, ask while there is no connection, and tell what waits. */
async function keepTrying() {
  const stale = Date.now() - fetchedAt > Math.max(LEAST_REFRESH, REFRESH_A_TICKET * (list?.size ?? 0));
  if (stale || !online) await fetchList();
  if (queue.length) await tell();
  setTimeout(keepTrying, BETWEEN_TRIES);
}

// --- the camera

let lastSeen = "";
let lastSeenAt = 0;
/** @type {MediaStream | null} */
let stream = null;

async function cameraReads() {
  const Detector = /** @type {any} */ (globalThis).BarcodeDetector;
  if (!Detector || !navigator.mediaDevices?.getUserMedia) return null;
  return (await Detector.getSupportedFormats()).includes("qr_code") ? new Detector({ formats: ["qr_code"] }) : null;
}

/** @param {any} detector */
async function toggleCamera(detector) {
  const video = /** @type {HTMLVideoElement} */ (one("video"));
  if (stream) {
    stream.getTracks().forEach((track) => track.stop());
    stream = null;
  } else {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      show({ word: "cannot", kind: "warn", more: say("no-camera") });
      return;
    }
    video.srcObject = stream;
    await video.play();
    look(detector, video);
  }
  one("camera").hidden = !stream;
  one("camera-button").setAttribute("aria-pressed", String(Boolean(stream)));
  one("camera-button").textContent = say(stream ? "camera-on" : "camera-off");
}

/** @param {any} detector @param {HTMLVideoElement} video */
async function look(detector, video) {
  while (stream) {
    const [found] = await detector.detect(video).catch(() => []);
    const again = found?.rawValue === lastSeen && Date.now() - lastSeenAt < SAME_PICTURE;
    if (found) [lastSeen, lastSeenAt] = [found.rawValue, Date.now()];
    if (found && !again) await check(found.rawValue);
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
}

async function offerCamera() {
  const detector = await cameraReads();
  one("no-camera").hidden = Boolean(detector);
  one("camera-button").hidden = !detector;
  one("camera-button").addEventListener("click", () => toggleCamera(detector));
}

// --- the start

/** So that the page opens without a connection too. */
async function keepThePage() {
  if (!navigator.serviceWorker) return false;
  await navigator.serviceWorker.register(page.worker, { scope: "/gate" });
  await navigator.serviceWorker.ready;
  const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
  const ours = loaded.filter((name) => new URL(name).pathname.startsWith("/static/"));
  await (await store())?.addAll([...new Set([location.href, ...ours])]);
  return true;
}

gateName.value = localStorage.getItem("gate:name") ?? "";
gateName.addEventListener("input", () => localStorage.setItem("gate:name", gateName.value.trim()));
one("typed").addEventListener("submit", async (event) => {
  event.preventDefault();
  const code = field.value;
  field.value = "";
  field.focus();
  if (code.trim()) await check(code);
});
collect.addEventListener("click", async () => {
  collect.hidden = true;
  field.focus();
  await check(unpaid, true);
});
one("quarrels-seen").addEventListener("click", () => {
  quarrels = [];
  keep("quarrels", quarrels);
  paint();
  field.focus();
});
addEventListener("online", async () => {
  await fetchList();
  await tell();
});
addEventListener("offline", () => line("offline"));

paint();
line("online");
await Promise.all([fetchList(), offerCamera()]);
keepTrying();
document.documentElement.dataset.ready = "true";
document.documentElement.dataset.kept = await keepThePage().then(String, String); // where a browser keeps nothing, the page works while it is open
