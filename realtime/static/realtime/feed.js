// @ts-check
/**
 * Keep a picture current by versioned diffs.
 *
 * At version v: drop a diff with `version` ≤ v, apply one with `from` ≤ v < `version`, fetch everything again when
 * `from` > v. Subscribe first, fetch second: diffs that come while the picture is on its way wait for it.
 *
 * @typedef {{type: "seats", from: number, version: number, changes: Record<string, string>, available: number}} Diff
 * @typedef {{version: number}} Snapshot
 */

export class VersionedFeed {
  /** @type {Diff[]} */ #waiting = [];
  #fetching = false;
  /** About how many milliseconds pass before the picture is fetched again. */
  pause = 1_000;

  /**
   * @param {object} picture
   * @param {number} picture.version the version that the page shows now
   * @param {() => Promise<Snapshot>} picture.fetch
   * @param {(snapshot: any) => void} picture.replace
   * @param {(diff: Diff) => void} picture.apply
   */
  constructor({ version, fetch, replace, apply }) {
    this.version = version;
    this.fetch = fetch;
    this.replace = replace;
    this.apply = apply;
  }

  /** Take a connection's first message, which has the newest version. @param {{version: number}} hello */
  hello(hello) {
    if (hello.version !== this.version) this.#refetch();
  }

  /** @param {Diff} diff */
  take(diff) {
    if (this.#fetching) this.#waiting.push(diff);
    else this.#judge(diff);
  }

  /** @param {Diff} diff */
  #judge(diff) {
    if (diff.version <= this.version) return;
    if (diff.from > this.version) {
      this.#waiting.push(diff);
      this.#refetch();
      return;
    }
    this.version = diff.version;
    this.apply(diff);
  }

  /** Fetch until the picture is complete; diffs that come meanwhile wait. */
  async #refetch() {
    if (this.#fetching) return;
    this.#fetching = true;
    while (!(await this.#catchUp())) await new Promise((resolve) => setTimeout(resolve, this.pause * (0.5 + Math.random())));
    this.#fetching = false;
  }

  /** Fetch and apply the waiting diffs; tell whether none is missing any more. */
  async #catchUp() {
    const snapshot = await this.fetch().catch(() => null);
    if (!snapshot) return false;
    if (snapshot.version >= this.version) {
      this.version = snapshot.version;
      this.replace(snapshot);
    }
    const waiting = this.#waiting.splice(0).sort((one, other) => one.from - other.from);
    for (const diff of waiting) {
      if (diff.from <= this.version) this.#judge(diff);
      else this.#waiting.push(diff);
    }
    return this.#waiting.length === 0;
  }
}
