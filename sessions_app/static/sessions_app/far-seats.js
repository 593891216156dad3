// @ts-check
/**
 * Show thousands of seats: a picture of all on a canvas, and elements only for those in sight and the buyer's own.
 *
 * @typedef {import("./seat-map.js").Seat} Seat
 * @typedef {[section: string, row: string, labels: string | string[], numbers: number | (number | string)[], xs: number[], ys: number[],
 *   kinds: Record<string, string>, types: number | number[]]} Row as `seat_plan.py` packs it; positions are steps from seat to seat
 */

const NS = "http://www.w3.org/2000/svg";
const SIDE = 20; // units of the drawing a seat takes
const WIDEST = 1600; // pixels of the picture, at most
const AROUND = 0.5; // part of the pane, on each side, where seats are ready before they come into sight

/** @param {{rows: Row[], looks: string}} packed @param {{id: string, look?: number | null}[]} types @returns {Seat[]} in plan order */
export function unpacked({ rows, looks }, types) {
  /** @type {Seat[]} */
  const seats = [];
  for (const [section, row, labels, numbers, xs, ys, kinds, kind] of rows) {
    let [x, y] = [0, 0];
    xs.forEach((step, index) => {
      [x, y] = [x + step, y + ys[index]];
      const number = String(typeof numbers === "number" ? numbers + index : numbers[index]);
      const type = types[typeof kind === "number" ? kind : kind[index]];
      const label = typeof labels === "string" ? labels + number : labels[index];
      const status = looks[seats.length];
      seats.push({ label, element: null, row, section, number, x, y, tier: type?.look ?? 0, type: type?.id ?? "", kind: kinds[index] ?? "standard", status });
    });
  }
  return seats;
}

export class FarSeats {
  /** @type {Map<Seat, string>} */ #changed = new Map();
  /** @type {Map<SVGGElement, Seat[]>} in plan order */ #rows = new Map();
  /** @type {Map<Seat, SVGGElement>} */ #rowOf = new Map();
  /** @type {Record<string, string>} */ #colours = {};
  /** @type {Set<Seat>} those that have an element */ #made = new Set();
  #due = false;
  #moved = true;

  /**
   * @param {object} hall
   * @param {SVGSVGElement} hall.svg
   * @param {HTMLElement} hall.pane
   * @param {Iterable<Seat>} hall.seats
   * @param {(seat: Seat) => string} hall.look
   * @param {(seat: Seat) => boolean} hall.isWanted whether it has an element wherever the pane is
   * @param {() => boolean} hall.isNear whether seats can be told apart
   * @param {(seat: Seat) => void} hall.dress make its element show its state
   */
  constructor({ svg, pane, seats, look, isWanted, isNear, dress }) {
    this.svg = svg;
    this.pane = pane;
    this.seats = [...seats];
    this.look = look;
    this.isWanted = isWanted;
    this.isNear = isNear;
    this.dress = dress;
    this.grid = /** @type {SVGGElement} */ (svg.querySelector('[role="grid"]'));
    this.#makeRows();
    this.canvas = document.createElement("canvas");
    this.canvas.className = "plan plan-far"; // as large as the plan, by the same rules
    this.canvas.toggleAttribute("data-large", svg.hasAttribute("data-large"));
    this.canvas.setAttribute("aria-hidden", "true");
    const { width, height } = svg.viewBox.baseVal;
    this.scale = Math.min(1, WIDEST / width, (pane.clientWidth * devicePixelRatio) / width);
    [this.canvas.width, this.canvas.height] = [Math.ceil(width * this.scale), Math.ceil(height * this.scale)];
    svg.before(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#readColours());
    this.#readColours();
    pane.addEventListener("scroll", () => this.#lookAgain(), { passive: true });
    new ResizeObserver(() => this.#fit()).observe(svg);
  }

  #fit() {
    this.canvas.style.setProperty("--zoom", this.svg.style.getPropertyValue("--zoom"));
    this.#lookAgain();
  }

  #lookAgain() {
    this.#moved = true;
    this.#later();
  }

  #makeRows() {
    let key = "";
    /** @type {SVGGElement | null} */
    let group = null;
    for (const seat of this.seats) {
      if (!group || key !== `${seat.section} ${seat.row}`) {
        key = `${seat.section} ${seat.row}`;
        group = document.createElementNS(NS, "g");
        group.setAttribute("role", "row");
        group.setAttribute("aria-rowindex", String(this.#rows.size + 1));
        this.#rows.set(group, []);
      }
      this.#rows.get(group)?.push(seat);
      this.#rowOf.set(seat, group);
    }
    this.grid.setAttribute("aria-rowcount", String(this.#rows.size));
  }

  /** Return the seat's element; create it if it is missing. @param {Seat} seat @returns {SVGUseElement} */
  bring(seat) {
    if (seat.element) return seat.element;
    const group = /** @type {SVGGElement} */ (this.#rowOf.get(seat));
    const row = this.#rows.get(group) ?? [];
    const index = row.indexOf(seat);
    const element = document.createElementNS(NS, "use");
    const attributes = { x: seat.x, y: seat.y, role: "gridcell", tabindex: -1, "aria-colindex": index + 1 };
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
    Object.assign(element.dataset, { seat: seat.label, number: seat.number, kind: seat.kind, tier: seat.tier });
    seat.element = element;
    this.#made.add(seat);
    this.dress(seat);
    group.insertBefore(element, row.slice(index + 1).find((other) => other.element)?.element ?? null);
    if (!group.parentNode) this.#insert(group);
    return element;
  }

  /** @param {SVGGElement} group */
  #insert(group) {
    const groups = [...this.#rows.keys()];
    this.grid.insertBefore(group, groups.slice(groups.indexOf(group) + 1).find((other) => other.parentNode) ?? null);
  }

  /** Note that the seat changed. @param {Seat} seat */
  paint(seat) {
    this.#changed.set(seat, this.look(seat));
    this.#later();
  }

  /** Draw, with the next frame, the picture and the elements of the seats in sight. */
  #later() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#draw();
      if (this.#moved) this.#gather();
      else for (const seat of this.#changed.keys()) if (this.isWanted(seat)) this.bring(seat);
      this.#changed.clear();
      this.#moved = false;
    });
  }

  // --- the elements

  #gather() {
    const { left, right, top, bottom } = this.#sight();
    const near = this.isNear();
    const isSeen = (/** @type {Seat} */ { x, y }) => near && x > left && x < right && y > top && y < bottom;
    for (const seat of this.#made) if (!isSeen(seat) && !this.isWanted(seat)) this.#send(seat);
    for (const seat of this.seats) if (!seat.element && (isSeen(seat) || this.isWanted(seat))) this.bring(seat);
  }

  /** Remove the seat's element, unless it has the keyboard's focus. @param {Seat} seat */
  #send(seat) {
    if (!seat.element || seat.element === document.activeElement) return;
    const group = seat.element.parentElement;
    seat.element.remove();
    seat.element = null;
    this.#made.delete(seat);
    if (!group?.firstChild) group?.remove();
  }

  /** Return the part of the drawing that is in the pane, and around it. */
  #sight() {
    const { x, y, width } = this.svg.viewBox.baseVal;
    const [svg, pane] = [this.svg.getBoundingClientRect(), this.pane.getBoundingClientRect()];
    const unit = width / svg.width;
    const [wide, tall] = [pane.width * unit, pane.height * unit];
    const [left, top] = [x + (pane.left - svg.left) * unit, y + (pane.top - svg.top) * unit];
    return { left: left - wide * AROUND, right: left + wide * (1 + AROUND), top: top - tall * AROUND, bottom: top + tall * (1 + AROUND) };
  }

  // --- the picture

  #readColours() {
    const style = getComputedStyle(this.svg);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
    this.#colours = { h: colour("held-ink"), s: colour("sold"), b: colour("sold"), chosen: colour("accent"), mine: colour("good"), lost: colour("bad") };
    const sample = this.svg.appendChild(document.createElementNS(NS, "g"));
    for (const tier of new Set(this.seats.map((seat) => seat.tier))) {
      sample.dataset.tier = String(tier);
      this.#colours[`f${tier}`] = getComputedStyle(sample).getPropertyValue("--tier").trim();
    }
    sample.remove();
    this.seats.forEach((seat) => this.paint(seat));
  }

  /** Draw shapes as well as colours: free seats are full, held ones dots, sold ones thin. */
  #draw() {
    const pen = this.canvas.getContext("2d");
    if (!pen || !this.#changed.size) return;
    const { x: left, y: top } = this.svg.viewBox.baseVal;
    const side = SIDE * this.scale;
    /** @type {Record<string, Seat[]>} */
    const alike = {};
    for (const [seat, look] of this.#changed) (alike[look === "f" ? `f${seat.tier}` : look] ??= []).push(seat);
    for (const [look, seats] of Object.entries(alike)) {
      const inset = look === "s" || look === "b" ? 0.3 : look === "h" ? 0.22 : 0;
      pen.fillStyle = this.#colours[look];
      pen.beginPath();
      for (const seat of seats) {
        const [x, y] = [(seat.x - left) * this.scale, (seat.y - top) * this.scale];
        pen.clearRect(x - 0.5, y - 0.5, side + 1, side + 1);
        if (look === "h") {
          pen.moveTo(x + side, y + side / 2);
          pen.arc(x + side / 2, y + side / 2, side * (0.5 - inset / 2), 0, 2 * Math.PI);
        } else pen.rect(x, y + side * inset, side, side * (1 - 2 * inset));
      }
      pen.fill();
    }
  }
}
