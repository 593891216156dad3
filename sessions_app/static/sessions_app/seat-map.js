// @ts-check
/**
 * Run the seat map: one SVG, one listener, one tab stop. The server draws it; this keeps it current and lets a buyer choose.
 *
 * What a seat shows, strongest first: mine, chosen, lost, and else its status, one letter: f free, h held, s sold, b blocked.
 * The box office's map (`desk`) lets its people choose seats in any state, and shows that state in what is chosen.
 *
 * @typedef {{label: string, element: SVGUseElement | null, row: string, section: string, number: string, x: number, y: number,
 *   tier: number, type: string, kind: string, status: string}} Seat `element`: none while it is far away (far-seats.js); `tier`: its price's look
 * @typedef {{id: string, name: string, price: {amount: number, currency: string}, fee?: number, look?: number | null}} TicketType
 */

import { FarSeats, unpacked } from "./far-seats.js";
import { count, money, say } from "./words.js";

const UNIT = 24; // units of the drawing a seat takes with the gap beside it, as in seat_plan.py
const FINGER = 24; // pixels that it takes at least where a finger must hit it (WCAG 2.5.8)
const OVERVIEW = 15; // pixels below which a tap zooms in instead of choosing
const STEPS = [1, 1.5, 2.25, 3.5]; // of the zoom buttons, from where a seat is large enough for a finger
const DRAG = 6; // pixels a mouse moves before it drags the hall rather than clicking a seat
const SHAPES = { h: "held", s: "sold", b: "blocked", chosen: "chosen", mine: "mine", lost: "lost" };

export class SeatMap extends EventTarget {
  /** @type {Map<string, Seat>} */ seats = new Map();
  /** @type {Set<string>} in the order of choice */ chosen = new Set();
  /** @type {Set<string>} */ #mine = new Set();
  /** @type {Set<string>} */ #lost = new Set();
  /** @type {Seat | null} */ #current = null;
  #zoom = 1;
  /** Pixels that UNIT takes at zoom 1. */ #cell = FINGER;
  /** @type {number[]} */ #zooms = STEPS;
  #asking = false;
  /** @type {FarSeats | null} */ #far = null;
  /** @type {Seat | null} */ #last = null;
  locked = false;
  /** Tells which seats may be chosen now. @type {(seat: Seat) => boolean} */
  mayChoose = (seat) => seat.status === "f";
  /** Returns further facts of a seat. @type {(seat: Seat) => string} */
  note = () => "";

  /** @param {HTMLElement} root @param {TicketType[]} types @param {number} most seats that may be chosen @param {{desk?: boolean}} [options] */
  constructor(root, types, most, { desk = false } = {}) {
    super();
    this.desk = desk;
    this.root = root;
    this.types = new Map(types.map((type) => [type.id, type]));
    this.most = most;
    this.svg = /** @type {SVGSVGElement} */ (root.querySelector("svg.plan"));
    this.pane = /** @type {HTMLElement} */ (root.querySelector(".plan-pane"));
    this.hint = /** @type {HTMLElement} */ (root.querySelector(".plan-hint"));
    this.ring = /** @type {SVGRectElement} */ (root.querySelector(".plan-ring"));
    const packed = root.querySelector("#plan-chairs")?.textContent;
    for (const seat of packed ? unpacked(JSON.parse(packed), types) : []) this.seats.set(seat.label, seat);
    for (const element of /** @type {NodeListOf<SVGUseElement>} */ (root.querySelectorAll("[data-seat]"))) {
      const row = /** @type {SVGElement} */ (element.parentNode).dataset;
      const { seat: label = "", number = "", type = "0", kind = "standard", look: status = "f" } = element.dataset;
      const [x, y] = [Number(element.getAttribute("x")), Number(element.getAttribute("y"))];
      this.seats.set(label, {
        label, element, number, kind, status, tier: types[Number(type)]?.look ?? 0, type: types[Number(type)]?.id ?? "", x, y, row: row.row ?? "", section: row.section ?? "",
      });
    }
    this.#far = packed ? this.#drawFar() : null;
    this.#current = this.seats.values().next().value ?? null;
    if (this.#current) this.#element(this.#current).setAttribute("tabindex", "0");
    this.#listen();
    this.#measure();
    this.pane.scrollLeft = (this.pane.scrollWidth - this.pane.clientWidth) / 2;
    new ResizeObserver(() => this.#measure()).observe(this.pane);
  }

  #drawFar() {
    return new FarSeats({
      svg: this.svg,
      pane: this.pane,
      seats: this.seats.values(),
      look: (seat) => this.#look(seat),
      isWanted: (seat) => seat === this.#current || this.chosen.has(seat.label) || this.#mine.has(seat.label) || this.#lost.has(seat.label),
      isNear: () => !this.#isOverview,
      dress: (seat) => this.#dress(seat),
    });
  }

  /** @param {Seat} seat @returns {SVGUseElement} */
  #element(seat) {
    return seat.element ?? /** @type {FarSeats} */ (this.#far).bring(seat);
  }

  /** @param {Event} event */
  #seatOf(event) {
    const element = event.target instanceof Element ? event.target.closest("[data-seat]") : null;
    return this.seats.get(/** @type {SVGElement | null} */ (element)?.dataset.seat ?? "");
  }

  #listen() {
    const grid = /** @type {SVGGElement} */ (this.svg.querySelector('[role="grid"]'));
    grid.addEventListener("click", (event) => {
      const seat = this.#seatOf(event);
      if (!seat) return;
      this.#stand(seat);
      if (this.#isOverview) return;
      if (event.shiftKey && this.desk) this.#reach(seat);
      else this.toggle(seat.label);
    });
    this.pane.addEventListener("click", (event) => {
      if (this.#isOverview) this.#zoomTo(FINGER / this.#cell, event.clientX, event.clientY);
    });
    this.#pan();
    this.#pinch();
    grid.addEventListener("keydown", (event) => this.#key(event));
    grid.addEventListener("focusin", (event) => {
      const seat = this.#seatOf(event);
      if (seat) this.#stand(seat);
      this.#placeRing();
    });
    grid.addEventListener("focusout", () => this.ring.setAttribute("visibility", "hidden"));
    grid.addEventListener("pointerover", (event) => this.#tell(this.#seatOf(event)));
    grid.addEventListener("pointerleave", () => this.#tell(undefined));
    this.root.querySelector("[data-zoom-in]")?.addEventListener("click", () => this.#zoomBy(1));
    this.root.querySelector("[data-zoom-out]")?.addEventListener("click", () => this.#zoomBy(-1));
  }

  // --- moving

  /** @param {KeyboardEvent} event */
  #key(event) {
    const from = this.#current;
    if (!from || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") {
      if (event.shiftKey && this.desk) this.#reach(from);
      else this.toggle(from.label);
    } else {
      const to = this.#neighbour(from, event.key);
      if (to === undefined) return;
      if (to) this.#go(to);
    }
    event.preventDefault();
  }

  /** Return the seat next to `from` in the hall; null at the edge, undefined for a key that moves nothing. @param {Seat} from @param {string} key */
  #neighbour(from, key) {
    if (key === "Home") return this.#rowOf(from)[0];
    if (key === "End") return this.#rowOf(from).at(-1);
    /** @type {Record<string, [number, number]>} */
    const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    const way = ways[key];
    if (!way) return undefined;
    const [slope, weight] = way[0] ? [0.75, 3] : [3, 2]; // sideways stays in the row; up and down looks wider
    let best = null;
    let least = Infinity;
    for (const seat of this.seats.values()) {
      const [dx, dy] = [seat.x - from.x, seat.y - from.y];
      const along = dx * way[0] + dy * way[1];
      const across = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
      if (along <= 1 || across > along * slope) continue;
      const far = along + across * weight;
      if (far < least) [best, least] = [seat, far];
    }
    return best;
  }

  /** @param {Seat} seat */
  #rowOf(seat) {
    return [...this.seats.values()].filter(({ row, section }) => row === seat.row && section === seat.section);
  }

  /** @param {Seat} seat */
  #go(seat) {
    if (this.#isOverview) this.reveal([seat.label]);
    this.#stand(seat);
    this.#element(seat).focus({ preventScroll: true });
    this.#element(seat).scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Make the seat the one tab stop. @param {Seat} seat */
  #stand(seat) {
    if (seat !== this.#current) {
      this.#current?.element?.setAttribute("tabindex", "-1");
      this.#element(seat).setAttribute("tabindex", "0");
      this.#current = seat;
    }
    this.#tell(seat);
    this.#placeRing();
  }

  #placeRing() {
    const seat = this.#current;
    if (!seat?.element?.matches(":focus-visible")) return;
    this.ring.setAttribute("x", String(seat.x - 1));
    this.ring.setAttribute("y", String(seat.y - 1));
    this.ring.setAttribute("visibility", "visible");
  }

  // --- choosing

  /** @param {string} label */
  toggle(label) {
    const seat = this.seats.get(label);
    if (!seat || this.locked) return;
    if (this.chosen.delete(label)) this.#changed(seat, "unchosen");
    else if (this.#mine.has(label)) this.#tell(seat);
    else if (!this.mayChoose(seat)) this.#announce("seat-taken", { seat: this.describe(seat) });
    else if (this.chosen.size >= this.most) this.#refuse(count("limit", this.most));
    else {
      this.#lost.delete(label);
      this.chosen.add(label);
      this.#last = seat;
      this.#changed(seat, "chosen");
    }
  }

  /** Choose from the seat chosen last to this one, if both are in one row. @param {Seat} seat */
  #reach(seat) {
    const row = this.#rowOf(seat);
    const ends = [row.indexOf(this.#last ?? seat), row.indexOf(seat)].sort((one, other) => one - other);
    const reached = ends[0] < 0 ? [seat] : row.slice(ends[0], ends[1] + 1);
    reached.filter(({ label }) => !this.chosen.has(label)).forEach(({ label }) => this.toggle(label));
  }

  /** Choose these seats and no others. @param {Iterable<string>} labels */
  choose(labels) {
    const before = [...this.chosen];
    this.chosen = new Set(labels);
    for (const label of new Set([...before, ...this.chosen])) this.#paint(label);
    this.dispatchEvent(new CustomEvent("choice"));
  }

  clear() {
    this.choose([]);
  }

  /** @param {Seat} seat @param {string} word */
  #changed(seat, word) {
    this.#paint(seat.label);
    this.#tell(seat);
    this.#announce(word, { seat: this.describe(seat) });
    this.dispatchEvent(new CustomEvent("choice"));
  }

  // --- updates from the server

  /** Take the status of each seat, one character each, in plan order. @param {string} statuses */
  replace(statuses) {
    let index = 0;
    for (const seat of this.seats.values()) this.#become(seat, statuses[index++] ?? seat.status);
  }

  /** @param {Record<string, string>} changes */
  apply(changes) {
    for (const [label, status] of Object.entries(changes)) {
      const seat = this.seats.get(label);
      if (seat) this.#become(seat, status);
    }
  }

  get asking() {
    return this.#asking;
  }

  /** Note whether the buyer's own request is on its way: meanwhile its seats turning grey are no loss. */
  set asking(asking) {
    this.#asking = asking;
    const gone = [...this.chosen].filter((label) => this.seats.get(label)?.status !== "f");
    if (!asking && gone.length) this.lose(gone);
  }

  /** @param {Seat} seat @param {string} status */
  #become(seat, status) {
    if (seat.status === status) return;
    seat.status = status;
    if (status === "f") this.#lost.delete(seat.label);
    else if (this.chosen.has(seat.label) && !this.asking && !this.#mine.has(seat.label) && !this.mayChoose(seat)) this.lose([seat.label]);
    this.#paint(seat.label);
  }

  /** Mark seats that another buyer got first; they are no longer chosen. @param {string[]} labels */
  lose(labels) {
    for (const label of labels) {
      this.chosen.delete(label);
      this.#lost.add(label);
      this.#paint(label);
    }
    this.dispatchEvent(new CustomEvent("choice"));
    this.dispatchEvent(new CustomEvent("lost", { detail: labels }));
  }

  /** Set the buyer's own seats. @param {Iterable<string>} labels */
  own(labels) {
    const before = [...this.#mine];
    this.#mine = new Set(labels);
    for (const label of this.#mine) {
      this.chosen.delete(label);
      this.#lost.delete(label);
    }
    for (const label of new Set([...before, ...this.#mine])) this.#paint(label);
    this.#tell(undefined);
    this.dispatchEvent(new CustomEvent("choice"));
  }

  // --- showing

  /** @param {Seat} seat */
  #look(seat) {
    if (this.#mine.has(seat.label)) return "mine";
    if (this.chosen.has(seat.label)) return "chosen";
    return this.#lost.has(seat.label) && seat.status !== "f" ? "lost" : /** @type {keyof typeof SHAPES | "f"} */ (seat.status);
  }

  /** @param {string} label */
  #paint(label) {
    const seat = this.seats.get(label);
    if (!seat) return;
    this.#far?.paint(seat);
    this.#dress(seat);
    if (seat === this.#current && document.activeElement === seat.element) this.#tell(seat);
  }

  /** @param {Seat} seat */
  #dress(seat) {
    const { element } = seat;
    if (!element) return;
    const look = this.#look(seat);
    const isTaken = this.desk && look === "chosen" && seat.status !== "f";
    const free = `${seat.kind === "standard" ? "free" : seat.kind}-${seat.tier}`; // with its price's mark
    const shape = look === "f" ? free : SHAPES[isTaken ? /** @type {keyof typeof SHAPES} */ (seat.status) : look];
    element.setAttribute("href", `#seat-${shape}`);
    element.dataset.look = look;
    element.setAttribute("aria-selected", String(look === "chosen" || look === "mine"));
    element.setAttribute("aria-label", this.describe(seat));
  }

  /** Describe a seat, like “Row C seat 7, free, R$ 30.00”. @param {Seat} seat */
  describe(seat) {
    const look = this.#look(seat);
    const type = this.types.get(seat.type);
    const parts = [this.name(seat.label)];
    if (seat.kind !== "standard") parts.push(say(`kind-${seat.kind}`));
    if (this.desk && look === "chosen") parts.push(say(`status-${seat.status}`));
    parts.push(say(`status-${look}`));
    if (type && (look === "f" || (look === "chosen" && !(this.desk && seat.status !== "f")))) parts.push(this.#priceOf(type));
    parts.push(this.note(seat));
    return parts.filter(Boolean).join(", ");
  }

  /** Return the price, like “R$ 30.00”, with its name where seats have several prices. @param {TicketType} type */
  #priceOf({ name, price }) {
    const looks = new Set([...this.types.values()].map(({ look }) => look ?? -1));
    looks.delete(-1);
    return looks.size > 1 ? `${name} ${money(price)}` : money(price);
  }

  /** Return the seat's name, like “Row C seat 7”. @param {string} label */
  name(label) {
    const seat = this.seats.get(label);
    if (!seat) return label;
    const name = say("seat-name", { row: seat.row, number: seat.number });
    return seat.section ? `${seat.section}, ${name}` : name;
  }

  /** @param {Seat | undefined} seat */
  #tell(seat) {
    delete this.hint.dataset.refused;
    this.hint.textContent = seat ? this.describe(seat) : this.#current && document.activeElement === this.#current.element
      ? this.describe(this.#current) : say(this.#isOverview ? "hint-overview" : "hint");
  }

  /** @param {string} word @param {Record<string, string | number>} facts */
  #announce(word, facts) {
    this.dispatchEvent(new CustomEvent("announce", { detail: say(word, facts) }));
  }

  /** Tell why a press did nothing, in the place of the hint, so that the layout stays. @param {string} why */
  #refuse(why) {
    this.hint.textContent = why;
    this.hint.dataset.refused = "";
    this.dispatchEvent(new CustomEvent("announce", { detail: why }));
  }

  // --- zooming and panning

  get #isOverview() {
    return this.#cell * this.#zoom < OVERVIEW;
  }

  /** Set the zooms. Zoom 1 shows the whole hall where it is large (`data-large`), else seats that a finger can hit. */
  #measure() {
    this.#cell = (this.svg.clientWidth / this.#zoom / this.svg.viewBox.baseVal.width) * UNIT;
    const finger = Math.max(1, FINGER / this.#cell);
    const whole = this.svg.hasAttribute("data-large") ? 1 : (this.pane.clientWidth - UNIT) / (this.svg.clientWidth / this.#zoom);
    const far = whole < finger * 0.9 ? [whole] : [];
    if (finger / whole > 4) far.push(Math.sqrt(whole * finger));
    this.#zooms = [...far, ...STEPS.map((step) => step * finger)];
    this.#zoomTo(this.#zoom);
  }

  /** Zoom by one step of the buttons. @param {1 | -1} way */
  #zoomBy(way) {
    const near = 1.02;
    const next = way > 0 ? this.#zooms.find((zoom) => zoom > this.#zoom * near) : this.#zooms.findLast((zoom) => zoom * near < this.#zoom);
    if (next) this.#zoomTo(next);
  }

  /** Zoom, and keep the spot at that point of the window there; without a point, the middle. @param {number} zoom @param {number} [x] @param {number} [y] */
  #zoomTo(zoom, x, y) {
    const [least, most] = [this.#zooms[0], this.#zooms.at(-1) ?? 1];
    const pane = this.pane.getBoundingClientRect();
    const [atX, atY] = [x ?? pane.left + pane.width / 2, y ?? pane.top + pane.height / 2];
    const before = this.svg.getBoundingClientRect();
    const [right, down] = [(atX - before.left) / before.width, (atY - before.top) / before.height];
    this.#zoom = Math.max(least, Math.min(most, zoom));
    this.svg.style.setProperty("--zoom", String(this.#zoom));
    this.svg.style.setProperty("--scale", String((this.#cell * this.#zoom) / UNIT));
    this.svg.toggleAttribute("data-overview", this.#isOverview);
    const after = this.svg.getBoundingClientRect();
    this.pane.scrollLeft += after.left + right * after.width - atX;
    this.pane.scrollTop += after.top + down * after.height - atY;
    this.root.querySelector("[data-zoom-in]")?.toggleAttribute("disabled", this.#zoom >= most);
    this.root.querySelector("[data-zoom-out]")?.toggleAttribute("disabled", this.#zoom <= least);
    this.#tell(undefined);
  }

  /** Bring seats into view, near enough to tell them apart. @param {Iterable<string>} labels */
  reveal(labels) {
    const seats = [...labels].flatMap((label) => this.seats.get(label) ?? []);
    if (!seats.length) return;
    if (this.#isOverview) this.#zoomTo(FINGER / this.#cell);
    const boxes = seats.map((seat) => this.#element(seat).getBoundingClientRect());
    const pane = this.pane.getBoundingClientRect();
    const middle = (/** @type {number[]} */ numbers) => (Math.min(...numbers) + Math.max(...numbers)) / 2;
    this.pane.scrollLeft += middle(boxes.map(({ x }) => x)) - pane.left - pane.width / 2;
    this.pane.scrollTop += middle(boxes.map(({ y }) => y)) - pane.top - pane.height / 2;
  }

  /** Let a mouse drag the hall; fingers and wheels scroll it by themselves. */
  #pan() {
    const { pane } = this;
    /** @type {{x: number, y: number, left: number, top: number} | null} */
    let start = null;
    let dragged = false;
    pane.addEventListener("pointerdown", (event) => {
      dragged = false;
      if (event.pointerType !== "mouse" || event.button) return;
      start = { x: event.clientX, y: event.clientY, left: pane.scrollLeft, top: pane.scrollTop };
    });
    addEventListener("pointerup", () => (start = null));
    pane.addEventListener("pointermove", (event) => {
      if (!start || !(event.buttons & 1)) return;
      const [x, y] = [event.clientX - start.x, event.clientY - start.y];
      dragged ||= Math.hypot(x, y) > DRAG;
      if (dragged) pane.scrollTo(start.left - x, start.top - y);
    });
    pane.addEventListener("click", (event) => dragged && event.stopPropagation(), { capture: true });
  }

  /** Zoom with two fingers, or a wheel with Ctrl, which browsers send for two fingers on a touch pad. */
  #pinch() {
    const { pane } = this;
    pane.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.#zoomTo(this.#zoom * Math.exp(-event.deltaY / 250), event.clientX, event.clientY);
    }, { passive: false });
    let [apart, zoom] = [0, 1];
    /** @param {TouchList} touches */
    const distance = ([one, other]) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    pane.addEventListener("touchstart", ({ touches }) => {
      if (touches.length === 2) [apart, zoom] = [distance(touches), this.#zoom];
    }, { passive: true });
    pane.addEventListener("touchmove", (event) => {
      const { touches } = event;
      if (touches.length !== 2 || !apart) return;
      if (event.cancelable) event.preventDefault();
      const [one, other] = touches;
      this.#zoomTo((zoom * distance(touches)) / apart, (one.clientX + other.clientX) / 2, (one.clientY + other.clientY) / 2);
    }, { passive: false });
  }
}
