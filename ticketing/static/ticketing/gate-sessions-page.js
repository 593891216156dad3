// @ts-check
/** The list of sessions at the gate also reports the scans that wait on this phone. */

import { Waiting } from "./gate-waiting.js";

const BETWEEN_TRIES = 5_000; // milliseconds
const waiting = new Waiting();

async function keepTelling() {
  await waiting.tell();
  setTimeout(keepTelling, BETWEEN_TRIES);
}

keepTelling();
document.documentElement.dataset.ready = "true";
