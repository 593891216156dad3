/** Keeps the gate's pages, so that they open without a connection too. What is fresh comes first. */

const KEPT = "frontrow-gate";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  const ours = request.mode === "navigate" || pathname.startsWith("/static/");
  if (request.method === "GET" && origin === self.location.origin && ours) event.respondWith(freshOrKept(request));
});

async function freshOrKept(request) {
  const cache = await caches.open(KEPT);
  try {
    const answer = await fetch(request);
    if (answer.ok && !answer.redirected) await cache.put(request, answer.clone());
    if (answer.status < 500) return answer;
    return (await cache.match(request, { ignoreVary: true })) ?? answer; // a proxy answers for a house that is away
  } catch (error) {
    const kept = await cache.match(request, { ignoreVary: true });
    if (kept) return kept;
    throw error;
  }
}
