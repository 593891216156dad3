// @ts-check
/** A reservation at its own address. The server keeps the state, so a closed page loses nothing. */

import { LiveSocket } from "../realtime/socket.js";
import { HoldPanel } from "../reservations/hold-panel.js";
import { get } from "../sessions_app/api.js";
import { payWith } from "./payment-form.js";

const root = /** @type {HTMLElement} */ (document.querySelector("#hold-panel"));
/** @type {Record<string, string>} */
const names = JSON.parse(document.querySelector("#seat-names")?.textContent ?? "{}");
const panel = new HoldPanel(root, (seat) => names[seat] ?? seat);
payWith(/** @type {HTMLFormElement} */ (document.querySelector("#payment")), panel);

const path = `/reservations/${root.dataset.reservation}`;
get(path).then((answer) => answer.ok && panel.show(answer.body));

new LiveSocket("/ws/me", { message: (message) => panel.take(message) });
document.documentElement.dataset.ready = "true";
