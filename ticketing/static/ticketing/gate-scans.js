// @ts-check
/**
 * Store the scans of this phone, of all sessions. Each has its own key, so that two open pages never overwrite each other's.
 * A scan is stored until the server knows it and the session's list shows the ticket as used.
 *
 * @typedef {{scan: string, session: string, show: string, code: string, digest: string, seat: string, gate: string, at: number,
 *   paid: boolean, isTold: boolean}} Scan a ticket that was accepted
 * @typedef {{scan: string, show: string, code: string, seat: string, ours: number, kind: "used" | "refunded" | "refused",
 *   theirs?: string, gate?: string, why?: string, reason?: string}} Quarrel of this phone's verdict with the box office's
 * @typedef {"online" | "offline" | "signed-out"} State
 * @typedef {Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">} Store
 * @typedef {import("../sessions_app/api.js").Answer} Answer
 */

const SCAN = "gate:scan:";
const QUARREL = "gate:quarrel:";
const BEFORE = /^gate:([0-9a-f-]{36}):(queue|quarrels)$/; // earlier versions stored one list per session
const REMEMBERED = 3 * 24 * 3_600_000; // milliseconds after which a reported scan is deleted

/** Tell whether there was no answer, or none of the application. @param {number} status */
export const isSilence = (status) => status === 0 || status === 429 || status >= 500;

/** @param {number} status */
const isSignedOut = (status) => status === 401 || status === 403;

export class Scans {
  /** Scans that the browser refused to store; they last as long as the page. @type {Map<string, string>} */
  #loose = new Map();
  #isTelling = false;

  /** @param {Store} store @param {() => number} [now] */
  constructor(store, now = Date.now) {
    this.store = store;
    this.now = now;
    this.#adopt();
    for (const { scan, at, isTold } of this.all) if (isTold && now() - at > REMEMBERED) this.#remove(SCAN + scan);
  }

  /** Tell whether all scans survive a reload. */
  get isKept() {
    return this.#loose.size === 0;
  }

  /** List them, oldest first. @returns {Scan[]} */
  get all() {
    return this.#read(SCAN).sort((one, other) => one.at - other.at);
  }

  /** List scans that the server does not know. */
  get waiting() {
    return this.all.filter(({ isTold }) => !isTold);
  }

  /** List them, oldest first. @returns {Quarrel[]} */
  get quarrels() {
    return this.#read(QUARREL).sort((one, other) => one.ours - other.ours);
  }

  /** Return the first accepted scan of each ticket of the session by digest. @param {string} session */
  of(session) {
    return new Map(this.all.filter((scan) => scan.session === session).reverse().map((scan) => [scan.digest, scan]));
  }

  /** @param {Scan} scan */
  add(scan) {
    this.#write(SCAN + scan.scan, scan);
  }

  /** Delete scans that the session's list contains. @param {string} session @param {Map<string, {status: string}>} list */
  settle(session, list) {
    for (const scan of this.all) {
      const status = scan.session === session && scan.isTold && list.get(scan.digest)?.status;
      if (status && status !== "valid") this.#remove(SCAN + scan.scan);
    }
  }

  forgetQuarrels() {
    for (const { scan } of this.quarrels) this.#remove(QUARREL + scan);
  }

  /**
   * Report scans to the server, oldest first, until it does not answer.
   *
   * @param {(scan: Scan) => Promise<Answer>} send
   * @returns {Promise<State | null>} null: there was nothing to tell, or it is being told already
   */
  async tell(send) {
    if (this.#isTelling) return null;
    this.#isTelling = true;
    /** @type {State | null} */
    let state = null;
    try {
      for (const scan of this.waiting) {
        const answer = await send(scan);
        state = isSignedOut(answer.status) ? "signed-out" : isSilence(answer.status) ? "offline" : "online";
        if (state === "online") this.#close(scan, answer);
        else if (answer.status < 500 || answer.status === 503) break; // otherwise only this scan may be the problem
      }
    } finally {
      this.#isTelling = false;
    }
    return state;
  }

  /** @param {Scan} scan @param {Answer} answer */
  #close(scan, answer) {
    const quarrel = quarrelOf(scan, answer);
    if (quarrel) this.#write(QUARREL + scan.scan, quarrel);
    this.#write(SCAN + scan.scan, { ...scan, isTold: true });
  }

  // --- storage

  /** @param {string} prefix @returns {any[]} */
  #read(prefix) {
    const found = new Map();
    for (let index = 0; index < this.store.length; index += 1) {
      const key = this.store.key(index) ?? "";
      if (key.startsWith(prefix)) found.set(key, this.store.getItem(key));
    }
    for (const [key, text] of this.#loose) if (key.startsWith(prefix)) found.set(key, text);
    return [...found.values()].map((text) => JSON.parse(text));
  }

  /** @param {string} key @param {Scan | Quarrel} value */
  #write(key, value) {
    const text = JSON.stringify(value);
    try {
      this.store.setItem(key, text);
      this.#loose.delete(key);
    } catch {
      this.#loose.set(key, text); // full, or forbidden: the page says so
    }
  }

  /** @param {string} key */
  #remove(key) {
    this.#loose.delete(key);
    this.store.removeItem(key);
  }

  /** Import the lists that earlier versions stored per session. */
  #adopt() {
    const keys = Array.from({ length: this.store.length }, (_none, index) => this.store.key(index) ?? "");
    for (const key of keys) {
      const [, session, kind] = BEFORE.exec(key) ?? [];
      if (!session) continue;
      for (const old of JSON.parse(this.store.getItem(key) ?? "null") ?? []) {
        if (kind === "queue") this.add({ ...old, session, show: "", isTold: false });
        else this.#write(`${QUARREL}${session}:${old.code}`, { ...old, scan: `${session}:${old.code}`, show: "", kind: old.theirs ? "used" : "refused" });
      }
      this.store.removeItem(key);
    }
  }
}

/** Return what the staff should know about the answer. @param {Scan} scan @param {Answer} answer @returns {Quarrel | null} */
function quarrelOf({ scan, show, code, seat, at }, answer) {
  const ours = { scan, show, code, seat, ours: at };
  if (!answer.ok) {
    const { code: problem, used_at, gate, detail } = answer.problem;
    return problem === "already_used" ? { ...ours, kind: "used", theirs: used_at, gate } : { ...ours, kind: "refused", why: detail };
  }
  const { also_used, refunded_at, void_reason } = answer.body;
  if (also_used) return { ...ours, kind: "used", theirs: also_used.used_at, gate: also_used.gate };
  return refunded_at ? { ...ours, kind: "refunded", theirs: refunded_at, reason: void_reason } : null;
}
