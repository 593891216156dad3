// @ts-check
/**
 * Call `/api/v1` as a browser does: with the buyer's cookie and the CSRF token.
 *
 * @typedef {{status: number, code?: string, title?: string, detail?: string, [fact: string]: any}} Problem
 * @typedef {{ok: true, status: number, body: any} | {ok: false, status: number, problem: Problem}} Answer
 */

const RETRIES = 3;

let drift = 0;

/** Return the server's time in milliseconds; correct a clock that is off by more than the answers' precision. */
export function serverNow() {
  return Date.now() + (Math.abs(drift) > 2_000 ? drift : 0);
}

/** @param {Response} response */
function noteTime(response) {
  const date = Date.parse(response.headers.get("Date") ?? "");
  if (date) drift = date + 500 - Date.now();
}

/** @param {number} milliseconds */
export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Return a key that makes a repeated request the same request. */
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @type {HTMLMetaElement | null} */
const made = document.querySelector('meta[name="frontrow-buyer"]');
/** Who looks at the page. If its browser signs in or out in another window meanwhile, the server does nothing. */
export let buyer = made?.content ?? "";
/** @type {((buyer: string) => void)[]} */
let waiting = [];

/** Call `then` as soon as the page knows who looks at it. @param {(buyer: string) => void} then */
export function whenKnown(then) {
  if (buyer) then(buyer);
  else waiting.push(then);
}

/** Whether this browser was here before: a page that is the same for everybody asks then who it is. */
export const isKnown = () => made !== null || document.cookie.split("; ").some((part) => part.startsWith("csrftoken="));

const PATIENCE = 10_000; // milliseconds for a fresh token

/** @returns {NodeListOf<HTMLInputElement>} */
const tokens = () => document.querySelectorAll('input[name="csrfmiddlewaretoken"]');

/**
 * Send a request with the page's CSRF token. Signing in or out, in any window, makes the token too old: then send once
 * more with a fresh one, which the page's forms get too. The request itself names the buyer who meant it.
 *
 * @param {(token: string) => Promise<Response>} send
 */
export async function signed(send) {
  if (!tokens()[0]?.value) await visit();
  const response = await send(tokens()[0]?.value ?? "");
  if (response.status !== 403) return response;
  const problem = await response.clone().json().catch(() => null);
  return problem?.code === "csrf_failed" && (await visit()) ? send(tokens()[0].value) : response;
}

/** @param {string} meant @returns {Record<string, string>} */
const whose = (meant) => (meant ? { "Frontrow-Buyer": meant } : {});

/** Whether the page knows who looks at it, asking if need be. */
export async function becomeKnown() {
  return Boolean(buyer) || (await visit().catch(() => false));
}

/** Ask who looks at the page, and for a fresh token. @returns {Promise<boolean>} whether the page has one now */
export async function visit() {
  const signal = AbortSignal.timeout(PATIENCE);
  const response = await fetch("/visitor", { cache: "no-store", credentials: "same-origin", signal });
  if (!response.ok) return false;
  const told = await response.json();
  for (const field of tokens()) field.value = told.token;
  if (!buyer) introduce(told);
  return tokens().length > 0;
}

/** @param {{buyer: string, email: string}} told */
function introduce(told) {
  buyer = told.buyer;
  /** @type {NodeListOf<HTMLInputElement>} */
  const addresses = document.querySelectorAll('input[type="email"]');
  for (const field of addresses) field.value ||= told.email;
  for (const then of waiting) then(buyer);
  waiting = [];
}

/**
 * @param {string} method @param {string} path below `/api/v1`
 * @param {{body?: object, key?: string, wait?: number, timeout?: number, meant?: string}} [options] `timeout`: milliseconds; `meant`: the
 *   buyer who meant the request, if it isn't the one that the page was made for
 * @returns {Promise<Answer>} `status` 0: no answer came
 */
export async function once(method, path, { body, key, wait, timeout, meant } = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  if (wait) headers.Prefer = `wait=${wait}`;
  const told = method === "GET" ? (/** @type {(token: string) => Promise<Response>} */ send) => send("") : signed;
  try {
    const response = await told((token) =>
      fetch(`/api/v1${path}`, {
        method,
        headers: { ...headers, ...(method !== "GET" && { "X-CSRFToken": token, ...whose(meant || buyer) }) },
        body: body && JSON.stringify(body),
        cache: "no-cache",
        credentials: "same-origin",
        ...(timeout && { signal: AbortSignal.timeout(timeout) }),
      }),
    );
    noteTime(response);
    const text = await response.text();
    const data = text ? JSON.parse(text) : null;
    if (response.ok) return { ok: true, status: response.status, body: data };
    const problem = { status: response.status, ...data, retry_after: Number(response.headers.get("Retry-After")) || 1 };
    return { ok: false, status: response.status, problem };
  } catch {
    return { ok: false, status: 0, problem: { status: 0, code: "no_answer" } };
  }
}

/** Tell whether the same request may be sent again, because it changes nothing twice. @param {Answer} answer */
function worthRepeating(answer) {
  return !answer.ok && (answer.status === 0 || answer.status >= 502 || answer.problem.code === "request_in_flight");
}

/** @param {string} path */
export const get = (path) => once("GET", path);

/** @param {string} path */
export const remove = (path) => persist("DELETE", path, {});

/** Send until an answer comes: the key makes it one request. @param {string} path @param {object} body @param {{wait?: number, key?: string, meant?: string}} [options] */
export const post = (path, body, options = {}) => persist("POST", path, { body, key: newKey(), ...options });

/** @param {string} method @param {string} path @param {{body?: object, key?: string, wait?: number, meant?: string}} options */
async function persist(method, path, options) {
  let answer = await once(method, path, options);
  for (let attempt = 1; attempt < RETRIES && worthRepeating(answer); attempt += 1) {
    const asked = answer.ok || answer.status === 0 ? attempt * 0.7 : Math.min(answer.problem.retry_after, 3);
    await pause(1_000 * asked * (0.75 + Math.random() / 2));
    answer = await once(method, path, options);
  }
  return answer;
}
