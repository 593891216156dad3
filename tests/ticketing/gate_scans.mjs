/** Test the scans that a phone stores, without a browser: `node --test`. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Scans } from "../../ticketing/static/ticketing/gate-scans.js";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** Simulate a browser's `localStorage`. */
class Store {
  kept = new Map();
  isFull = false;
  get length() { return this.kept.size; }
  key(index) { return [...this.kept.keys()][index] ?? null; }
  getItem(key) { return this.kept.get(key) ?? null; }
  removeItem(key) { this.kept.delete(key); }
  setItem(key, text) {
    if (this.isFull) throw new DOMException("full", "QuotaExceededError");
    this.kept.set(key, text);
  }
}

const told = (body = {}) => ({ ok: true, status: 200, body: { also_used: null, refunded_at: null, ...body } });
const refused = (status, problem = {}) => ({ ok: false, status, problem: { status, ...problem } });
const scan = (name, more = {}) => ({
  scan: name, session: "one", show: "Macbeth", code: `CODE${name}`, digest: `digest-${name}`, seat: "A1", gate: "Door 2", at: 1_000, paid: false, isTold: false, ...more,
});

test("scans of every session are told, oldest first, each with its session and its time", async () => {
  const scans = new Scans(new Store(), () => 5_000);
  scans.add(scan("b", { session: "two", at: 3_000 }));
  scans.add(scan("a", { session: "one", at: 2_000 }));
  const sent = [];
  assert.equal(await scans.tell(async (one) => (sent.push([one.scan, one.session, one.at]), told())), "online");
  assert.deepEqual(sent, [["a", "one", 2_000], ["b", "two", 3_000]]);
  assert.deepEqual(scans.waiting, []);
});

test("nothing is lost by a reload, nor between two pages of the phone", () => {
  const store = new Store();
  const [here, there] = [new Scans(store, () => 5_000), new Scans(store, () => 5_000)];
  here.add(scan("a"));
  there.add(scan("b"));
  here.add(scan("c"));
  assert.deepEqual(new Scans(store, () => 5_000).waiting.map((one) => one.scan), ["a", "b", "c"]);
});

for (const [name, answer, state] of [
  ["nobody answers", refused(0), "offline"],
  ["the house is busy", refused(503), "offline"],
  ["too many ask", refused(429), "offline"],
  ["nobody is signed in", refused(401, { code: "not_authenticated" }), "signed-out"],
  ["another account is", refused(403, { code: "forbidden" }), "signed-out"],
]) {
  test(`a scan waits on while ${name}`, async () => {
    const scans = new Scans(new Store(), () => 5_000);
    scans.add(scan("a"));
    scans.add(scan("b"));
    let asked = 0;
    assert.equal(await scans.tell(async () => ((asked += 1), answer)), state);
    assert.equal(asked, 1);
    assert.equal(scans.waiting.length, 2);
    assert.deepEqual(scans.quarrels, []);
  });
}

test("one that the house stumbles over holds up no other", async () => {
  const scans = new Scans(new Store(), () => 5_000);
  scans.add(scan("a"));
  scans.add(scan("b", { at: 2_000 }));
  await scans.tell(async ({ scan: name }) => (name === "a" ? refused(500) : told()));
  assert.deepEqual(scans.waiting.map((one) => one.scan), ["a"]);
});

for (const [name, answer, kind, facts] of [
  ["was let in at another door before", refused(409, { code: "already_used", used_at: "2026-01-01T20:00:00Z", gate: "Door 5" }), "used", { theirs: "2026-01-01T20:00:00Z", gate: "Door 5" }],
  ["was let in at another door after", told({ also_used: { used_at: "2026-01-01T20:00:00Z", gate: "Door 5" } }), "used", { theirs: "2026-01-01T20:00:00Z", gate: "Door 5" }],
  ["was given back since", told({ refunded_at: "2026-01-01T20:00:00Z", void_reason: "given_back" }), "refunded", { theirs: "2026-01-01T20:00:00Z", reason: "given_back" }],
  ["was for a session called off since", told({ refunded_at: "2026-01-01T20:00:00Z", void_reason: "called_off" }), "refunded", { theirs: "2026-01-01T20:00:00Z", reason: "called_off" }],
  ["is refused for another reason", refused(409, { code: "session_cancelled", detail: "Called off." }), "refused", { why: "Called off." }],
]) {
  test(`a copy that ${name} is reported until it is seen`, async () => {
    const store = new Store();
    const scans = new Scans(store, () => 5_000);
    scans.add(scan("a"));
    await scans.tell(async () => answer);
    const [quarrel] = new Scans(store, () => 5_000).quarrels;
    assert.deepEqual(quarrel, { scan: "a", show: "Macbeth", code: "CODEa", seat: "A1", ours: 1_000, kind, ...facts });
    assert.deepEqual(scans.waiting, []);
    scans.forgetQuarrels();
    assert.deepEqual(new Scans(store, () => 5_000).quarrels, []);
  });
}

test("who came in here is remembered until the list knows it, also after it was told", async () => {
  const scans = new Scans(new Store(), () => 5_000);
  scans.add(scan("a"));
  scans.add(scan("b", { session: "two" }));
  await scans.tell(async () => told());
  assert.deepEqual([...scans.of("one").keys()], ["digest-a"]);
  scans.settle("one", new Map([["digest-a", { status: "valid" }]]));
  assert.equal(scans.of("one").size, 1);
  scans.settle("one", new Map([["digest-a", { status: "used" }], ["digest-b", { status: "used" }]]));
  assert.equal(scans.of("one").size, 0);
  assert.equal(scans.of("two").size, 1);
});

test("one that waits is never forgotten, one that is told after days", async () => {
  const store = new Store();
  const scans = new Scans(store, () => 5_000);
  scans.add(scan("a"));
  scans.add(scan("b", { isTold: true }));
  scans.settle("one", new Map([["digest-a", { status: "used" }]]));
  assert.deepEqual(new Scans(store, () => 40 * DAY).all.map((one) => one.scan), ["a"]);
});

test("two tries at once tell each scan once", async () => {
  const scans = new Scans(new Store(), () => 5_000);
  scans.add(scan("a"));
  let asked = 0;
  const send = async () => ((asked += 1), await null, told());
  assert.deepEqual(await Promise.all([scans.tell(send), scans.tell(send)]), ["online", null]);
  assert.equal(asked, 1);
});

test("a browser that keeps nothing says so, and the scan is told all the same", async () => {
  const store = new Store();
  store.isFull = true;
  const scans = new Scans(store, () => 5_000);
  scans.add(scan("a"));
  assert.equal(scans.isKept, false);
  store.isFull = false;
  await scans.tell(async () => told());
  assert.equal(scans.isKept, true);
  assert.deepEqual(scans.waiting, []);
});

test("what an earlier version of the page kept by session is taken over", () => {
  const [store, session] = [new Store(), "019337a6-0a10-7d3e-8a51-0f3f6f5d1c01"];
  const { session: _session, show: _show, isTold: _isTold, ...old } = scan("a");
  store.setItem(`gate:${session}:queue`, JSON.stringify([old]));
  store.setItem(`gate:${session}:quarrels`, JSON.stringify([{ code: "X", seat: "A2", ours: 1, theirs: "2026-01-01T20:00:00Z", gate: "Door 5" }]));
  store.setItem("gate:name", "Door 2");
  const scans = new Scans(store, () => 5_000);
  assert.deepEqual(scans.waiting.map((one) => [one.scan, one.session]), [["a", session]]);
  assert.deepEqual(scans.quarrels.map(({ kind, gate }) => [kind, gate]), [["used", "Door 5"]]);
  assert.equal(store.getItem(`gate:${session}:queue`), null);
  assert.equal(store.getItem("gate:name"), "Door 2");
});
