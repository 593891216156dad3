// @ts-check
/**
 * Keep a WebSocket open: reconnect after jittered, growing pauses, and at once when the network or the tab returns.
 *
 * @typedef {"connecting" | "live" | "reconnecting" | "offline"} Connection
 */

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
const SENT_AWAY = [1012, 1013]; // the server restarts, or is busy: all clients were told at the same moment
const SPREAD = 2_000;

/** Return a socket's address: on this origin, unless the page names another. @param {string} path */
export function liveUrl(path) {
  const named = /** @type {HTMLMetaElement | null} */ (document.querySelector('meta[name="frontrow-live"]'));
  return new URL(path, (named?.content || location.origin).replace(/^http/, "ws")).href;
}

export class LiveSocket {
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {Connection} */ #state = "connecting";
  #attempts = 0;
  #retry = 0;
  #watchdog = 0;

  /**
   * @param {string} path
   * @param {{message: (data: any) => void, state?: (state: Connection) => void, silence?: number}} handlers
   *   `silence`: milliseconds without a message after which the connection counts as dead (0: never).
   */
  constructor(path, { message, state = () => {}, silence = 0 }) {
    this.url = liveUrl(path);
    this.onMessage = message;
    this.onState = state;
    this.silence = silence;
    addEventListener("online", () => this.#now());
    addEventListener("offline", () => this.#lost());
    addEventListener("pageshow", (event) => event.persisted && this.#now());
    document.addEventListener("visibilitychange", () => document.hidden || this.#now());
    this.#open();
  }

  get state() {
    return this.#state;
  }

  #open() {
    clearTimeout(this.#retry);
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#listen();
      this.#become("live");
    };
    socket.onmessage = (event) => {
      this.#attempts = 0; // only a server that speaks is back
      this.#listen();
      this.onMessage(JSON.parse(event.data));
    };
    socket.onclose = ({ code }) => this.#socket === socket && this.#lost(SENT_AWAY.includes(code) ? SPREAD : 0);
  }

  #listen() {
    clearTimeout(this.#watchdog);
    if (this.silence) this.#watchdog = setTimeout(() => this.#lost(), this.silence);
  }

  /** @param {number} [spread] milliseconds over which clients that were sent away together come back */
  #lost(spread = 0) {
    clearTimeout(this.#watchdog);
    clearTimeout(this.#retry);
    const dead = this.#socket;
    this.#socket = null;
    dead?.close();
    this.#become(navigator.onLine ? "reconnecting" : "offline");
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#attempts++);
    this.#retry = setTimeout(() => this.#open(), pause * (0.5 + Math.random()) + spread * Math.random());
  }

  #now() {
    if (this.#socket) return;
    this.#attempts = 0;
    this.#open();
  }

  /** @param {Connection} state */
  #become(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.onState(state);
  }
}
