// @ts-check
/** The scanner asks the server about each code. Without a connection it judges by itself, and reports later. */

import { newKey, once, serverNow } from "../sessions_app/api.js";
import { language, money, say } from "../sessions_app/words.js";
import { judge, plain } from "./gate-codes.js";
import { isSilence } from "./gate-scans.js";
import { Waiting, moment } from "./gate-waiting.js";

/**
 * @typedef {import("./gate-codes.js").Listed} Listed
 * @typedef {{paid?: boolean, anyway?: boolean}} Means what the people at the gate did for the ticket: took its money, or opened before the time
 * @typedef {{scan: string, code: string, gate: string, at: number} & Means} Attempt
 * @typedef {{word: string, kind: "in" | "bad" | "warn" | "none", seat?: string, more?: string}} Verdict
 */

const PATIENCE = 3_000; // milliseconds until this phone judges by itself, because people wait at the gate
const BETWEEN_TRIES = 5_000;
const SAME_PICTURE = 4_000; // milliseconds; the camera still sees a ticket that was just judged
const LOOK = 150;
const LEAST_REFRESH = 30_000;
const REFRESH_A_TICKET = 10; // milliseconds for each on the list: sixty thousand are fetched each ten minutes

/** @type {{session: string, title: string, keys: import("./gate-codes.js").Key[], list: string, worker: string, kept: string[],
 *   opens_at: string, closes_at: string, cancelled_at: string | null}} */
const page = JSON.parse(document.getElementById("gate-data")?.textContent ?? "{}");
const one = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const numbers = new Intl.NumberFormat(language);
const gateName = /** @type {HTMLInputElement} */ (one("gate-name"));
const field = /** @type {HTMLInputElement} */ (one("code"));
const allow = /** @type {HTMLButtonElement} */ (one("allow"));
/** The code that is accepted once the staff confirm it. @type {{code: string} & Means} */
let asked = { code: "" };

const waiting = new Waiting();
const { scans } = waiting;
/** @type {Map<string, Listed> | null} */
let list = null;
let online = true;
let fetchedAt = 0;

// --- display

/** @param {Verdict} verdict */
function show({ word, kind, seat = "", more = "" }) {
  allow.hidden = true;
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
  const used = new Set(scans.of(page.session).keys());
  for (const { digest, status } of list?.values() ?? []) if (status === "used") used.add(digest);
  one("came").textContent = numbers.format(used.size);
  one("called-off").hidden = !page.cancelled_at;
  one("scanning").hidden = Boolean(page.cancelled_at);
  waiting.paint();
}

/** @param {string | null | undefined} seat @param {string | undefined} type */
const place = (seat, type) => (seat ? say("seat", { seat, type: type ?? "" }) : (type ?? ""));

/** @param {string | number} at @param {string} gate */
const whenAndWhere = (at, gate) => say(gate ? "used-when" : "used-time", { time: moment(at), gate });

/** Ask the staff before a ticket is accepted: the button names its effect. @param {{code: string} & Means} what @param {string} words */
function askFirst(what, words) {
  asked = what;
  allow.hidden = false;
  allow.textContent = words; // not focused: a scanner types Enter
}

/** Ask for the money before an unpaid ticket is accepted. @param {Attempt} attempt @param {{amount: number, currency: string}} due @param {string} [seat] */
function askForMoney({ code, anyway }, due, seat) {
  show({ word: "due", kind: "warn", seat, more: money(due) });
  askFirst({ code, anyway, paid: true }, say("collect", { amount: money(due) }));
}

/** Ask for confirmation before a ticket is accepted while the doors are closed. @param {Attempt} attempt @param {"not-yet" | "too-late"} word @param {string} time @param {string} [seat] */
function askForTime({ code, paid }, word, time, seat) {
  show({ word, kind: "warn", seat, more: say(`${word}-more`, { time: moment(time) }) });
  askFirst({ code, paid, anyway: true }, say("anyway"));
}

// --- judging

/** @param {string} code @param {Means} [means] */
async function check(code, { paid, anyway } = {}) {
  show({ word: "checking", kind: "none" });
  const attempt = { scan: newKey(), code: plain(code), gate: gateName.value.trim(), at: Date.now(), paid, anyway };
  const answer = await once("POST", "/checkins", {
    body: { code: attempt.code, gate: attempt.gate, session: page.session, scan: attempt.scan, ...(paid && { paid }), ...(anyway && { anyway }) },
    timeout: PATIENCE,
  });
  if (!answer.ok && isSilence(answer.status)) return judgeAlone(attempt);
  line(answer.status === 401 || answer.status === 403 ? "signed-out" : "online");
  if (answer.ok) {
    show(letIn(answer.body));
    await remember(attempt);
  } else refuse(attempt, answer.problem);
  waiting.tell();
}

/** @param {Attempt} attempt @param {import("../sessions_app/api.js").Problem} problem */
function refuse(attempt, problem) {
  if (problem.code === "payment_due") askForMoney(attempt, problem.due);
  else if (problem.code === "not_yet") askForTime(attempt, "not-yet", problem.opens_at);
  else if (problem.code === "too_late") askForTime(attempt, "too-late", problem.ended_at);
  else show(refusal(problem));
  if (problem.code !== "session_cancelled") return;
  page.cancelled_at = problem.cancelled_at;
  paint();
}

/** @param {{seat: string | null, ticket_type: {name: string}, concession: {name: string, note: string} | null}} body @returns {Verdict} */
const letIn = ({ seat, ticket_type, concession }) => ({
  word: "in",
  kind: "in",
  seat: place(seat, ticket_type.name),
  more: concession ? askFor(concession.name, concession.note) : "",
});

/** Say which proof the concession needs. @param {string} concession @param {string} [note] */
const askFor = (concession, note) => say(note ? "ask-for" : "ask-for-proof", { concession, note: note ?? "" });

/** @param {import("../sessions_app/api.js").Problem} problem @returns {Verdict} */
function refusal({ code, reason, used_at, gate, detail }) {
  switch (code) {
    case "already_used":
      return { word: "used", kind: "bad", more: whenAndWhere(used_at, gate) };
    case "ticket_void":
      return { word: "void", kind: "bad", more: say(`void-${reason}`) };
    case "session_cancelled":
      return { word: "called-off", kind: "bad" };
    case "other_session":
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

/** @param {Attempt} attempt */
async function judgeAlone(attempt) {
  line("offline");
  const { kind, digest = "", listed } = await judge(attempt.code, { session: page.session, keys: page.keys, list });
  const before = scans.of(page.session).get(digest);
  const seat = place(listed?.seat, listed?.ticket_type);
  if (before) show({ word: "used", kind: "bad", seat, more: whenAndWhere(before.at, before.gate) });
  else if (kind === "used") show({ word: "used", kind: "bad", seat, more: whenAndWhere(listed?.used_at ?? "", listed?.gate ?? "") });
  else if (kind === "void") show({ word: "void", kind: "bad", seat, more: listed?.void_reason ? say(`void-${listed.void_reason}`) : "" });
  else if (kind === "unlisted") show({ word: "unknown", kind: "warn", more: say("unlisted") });
  else if (kind === "cannot") show({ word: "cannot", kind: "warn", more: say("cannot-more") });
  else if (kind !== "in") show({ word: kind, kind: "bad" });
  else if (!attempt.anyway && serverNow() < Date.parse(page.opens_at)) askForTime(attempt, "not-yet", page.opens_at, seat);
  else if (!attempt.anyway && serverNow() >= Date.parse(page.closes_at)) askForTime(attempt, "too-late", page.closes_at, seat);
  else if (listed?.due && !attempt.paid) askForMoney(attempt, listed.due, seat);
  else {
    keep(attempt, digest, listed?.seat, false);
    show({ word: "in-alone", kind: "in", seat, more: listed?.concession ? askFor(listed.concession, listed.note) : "" });
  }
  paint();
}

/** @param {Attempt} attempt let in by the box office */
async function remember(attempt) {
  const { digest, listed } = await judge(attempt.code, { session: page.session, keys: page.keys, list });
  if (digest) keep(attempt, digest, listed?.seat, true);
  paint();
}

/** @param {Attempt} attempt @param {string} digest @param {string | null | undefined} seat @param {boolean} isTold */
function keep({ scan, code, gate, at, paid }, digest, seat, isTold) {
  scans.add({ scan, session: page.session, show: page.title, code, digest, seat: seat ?? "", gate, at, paid: Boolean(paid), isTold });
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

/** @param {{tickets: Listed[], keys: import("./gate-codes.js").Key[], opens_at: string, closes_at: string, cancelled_at: string | null}} told */
function useList({ tickets, keys, opens_at, closes_at, cancelled_at }) {
  list = new Map(tickets.map((row) => [row.digest, row]));
  scans.settle(page.session, list);
  Object.assign(page, { keys, opens_at, closes_at, cancelled_at });
  paint();
}

/** The browser's storage for this page; none if it is not served over HTTPS. */
const store = async () => globalThis.caches?.open("frontrow-gate");

/** Refresh the list, look for a connection, and report waiting scans. */
async function keepTrying() {
  const stale = Date.now() - fetchedAt > Math.max(LEAST_REFRESH, REFRESH_A_TICKET * (list?.size ?? 0));
  if (stale || !online) await fetchList();
  await waiting.tell();
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

/** Store the page, so that it also opens without a connection. */
async function keepThePage() {
  if (!navigator.serviceWorker) return false;
  await navigator.serviceWorker.register(page.worker, { scope: "/gate" });
  await navigator.serviceWorker.ready;
  const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
  const ours = loaded.filter((name) => new URL(name).pathname.startsWith("/static/"));
  await (await store())?.addAll([...new Set([location.href, ...page.kept, ...ours])]);
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
allow.addEventListener("click", async () => {
  allow.hidden = true;
  field.focus();
  await check(asked.code, asked);
});
one("quarrels-seen").addEventListener("click", () => field.focus());
waiting.addEventListener("line", (event) => line(/** @type {CustomEvent<import("./gate-scans.js").State>} */ (event).detail));
addEventListener("online", fetchList);
addEventListener("offline", () => line("offline"));

paint();
line("online");
await Promise.all([fetchList(), offerCamera()]);
keepTrying();
document.documentElement.dataset.ready = "true";
document.documentElement.dataset.kept = await keepThePage().then(String, String); // without storage the page works while it is open
