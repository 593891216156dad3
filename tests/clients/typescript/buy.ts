// A program on the types that openapi-typescript makes, with openapi-fetch: it buys two seats, is refused one, orders, gives back.
// tests/clients/test_typescript.py compiles it with `tsc --strict` and runs it: node buy.js http://127.0.0.1:8000 SESSION
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[]; exitCode: number; stdout: { write(text: string): void } };

type Sale = components["schemas"]["SaleOut"];
type Api = Client<paths>;

const wait = { Prefer: "wait=10" };
const means = (token: string) => ({ payment: { method: "fake" as const, token } });

const newKey = () => `${Date.now()}-${Math.random()}`;

function must(condition: unknown, said: unknown): asserts condition {
  if (!condition) throw new Error(`Not as the document says: ${JSON.stringify(said)}`);
}

async function guest(baseUrl: string): Promise<Api> {
  const { data, error } = await createClient<paths>({ baseUrl }).POST("/api/v1/auth/guest");
  must(data, error);
  return createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${data.access}` } });
}

async function freeSeats(api: Api, id: string): Promise<string[]> {
  const { data, error } = await api.GET("/api/v1/sessions/{id}/seats", { params: { path: { id } } });
  must(data && "counts" in data, error);
  return data.seats.filter((seat) => seat.status === "free").map((seat) => seat.label);
}

async function buy(api: Api, session: string, seats: string[]): Promise<Sale> {
  const header = { ...wait, "Idempotency-Key": newKey() };
  const asked = await api.POST("/api/v1/reservations", { body: { session, seats }, params: { header } });
  must(asked.data?.status === "held", asked.error);
  const total: number = asked.data.total?.amount ?? 0;
  must(total > 0, asked.data);
  const path = { reservation: asked.data.id };
  const pay = (token: string) =>
    api.POST("/api/v1/reservations/{reservation}/pay", { body: means(token), params: { path, header: wait } });
  const declined = await pay("declined");
  must(declined.error?.code === "payment_declined", declined.data);
  must(declined.error.reason === "card_declined", declined.error);
  const paid = await pay("ok");
  must(paid.data && "sale" in paid.data, paid.error);
  const again = await pay("ok");
  must(again.error?.code === "already_paid", again.data);
  must(again.error.sale.id === paid.data.sale.id, again.error);
  const now = await api.GET("/api/v1/reservations/{reservation}", { params: { path } });
  must(now.data?.sale?.number === paid.data.sale.number, now.error);
  return paid.data.sale;
}

async function isRefused(api: Api, session: string, seat: string): Promise<void> {
  const { data, error } = await api.POST("/api/v1/reservations", { body: { session, seats: [seat] }, params: { header: wait } });
  must(error?.code === "seats_unavailable", data);
  must(error.conflicts[0]?.seat === seat && error.conflicts[0].reason === "sold", error);
}

async function order(api: Api, session: string, seat: string): Promise<void> {
  const header = { ...wait, "Idempotency-Key": newKey() };
  const ask = () =>
    api.POST("/api/v1/orders", { body: { session, seats: [seat], ...means("ok") }, params: { header } });
  const first = await ask();
  must(first.data?.status === "COMPLETED" && first.data.sale?.due.amount === 0, first.error);
  const replayed = await ask();
  must(replayed.data?.id === first.data.id, replayed.error);
  must(replayed.response.headers.get("Idempotent-Replayed") === "true", replayed.data);
}

async function giveBack(api: Api, sale: Sale): Promise<void> {
  const ticket = sale.tickets[0];
  must(ticket, sale);
  const { data, error } = await api.POST("/api/v1/sales/{sale}/refund", {
    body: { tickets: [ticket.id] },
    params: { path: { sale: sale.id } },
  });
  must(data?.sale.status === "partly_refunded", error);
}

async function main(site: string, session: string): Promise<void> {
  const api = await guest(site);
  const [first, second, third] = await freeSeats(api, session);
  must(first && second && third, "three free seats");
  const sale = await buy(api, session, [first, second]);
  await isRefused(await guest(site), session, first);
  await order(api, session, third);
  await giveBack(api, sale);
  process.stdout.write(`${sale.number}\n`);
}

await main(process.argv[2] ?? "", process.argv[3] ?? "");
