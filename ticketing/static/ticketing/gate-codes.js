// @ts-check
/**
 * Judge the code of a ticket without a connection (ticketing/codes.py makes the codes).
 *
 * @typedef {{digest: string, seat: string | null, ticket_type: string, concession: string | null, note: string, status: string, void_reason: string | null, used_at: string | null, gate: string,
 *   due?: {amount: number, currency: string} | null}} Listed
 * @typedef {{kid: string, kty: string, crv: string, x: string}} Key
 * @typedef {{kind: "in" | "used" | "void" | "wrong" | "unknown" | "unlisted" | "forged" | "cannot",
 *   digest?: string, listed?: Listed}} Judgement
 */

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SHORT = /^[0-9A-HJKMNP-TV-Z]{12,26}$/;
const SIGNED = /^([0-9A-HJKMNP-TV-Z]{12,26})\.([0-9A-HJKMNP-TV-Z]{16})\.([0-9A-HJKMNP-TV-Z]{103})$/;
const PURPOSE = "frontrow ticket:";
const KEY_ID_BYTES = 4;
const DIGITS_OF_A_DIGEST = 24;

const utf8 = new TextEncoder();

/** Clean a code that a person typed. @param {string} text */
export function plain(text) {
  return text.toUpperCase().replace(/[\s-]/g, "").replace(/O/g, "0").replace(/[IL]/g, "1");
}

/** @param {string} code */
export const shortOf = (code) => plain(code).split(".")[0];

/** K7QM-2X9D-R4TV @param {string} short */
export const spelled = (short) => short.match(/.{1,4}/g)?.join("-") ?? "";

/** @param {string} text Crockford's base 32 */
function bytes(text) {
  const found = new Uint8Array(Math.floor((text.length * 5) / 8));
  let bits = 0;
  let held = 0;
  let place = 0;
  for (const letter of text) {
    held = (held << 5) | ALPHABET.indexOf(letter);
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    found[place] = (held >> bits) & 255;
    place += 1;
    held &= (1 << bits) - 1;
  }
  return found;
}

/** @param {Uint8Array} data */
const hex = (data) => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** @param {string} short */
export async function digest(short) {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8.encode(PURPOSE + short)))).slice(0, DIGITS_OF_A_DIGEST);
}

/**
 * Tell whether one of the keys signed it; null if this browser has no Ed25519.
 * @param {RegExpExecArray} code @param {Key[]} keys
 */
async function isSigned([, short, facts, signature], keys) {
  const kid = hex(bytes(facts).slice(0, KEY_ID_BYTES));
  const jwk = keys.find((key) => key.kid === kid);
  if (!jwk) return false;
  try {
    const { kty, crv, x } = jwk;
    const key = await crypto.subtle.importKey("jwk", { kty, crv, x }, { name: "Ed25519" }, false, ["verify"]);
    return await crypto.subtle.verify({ name: "Ed25519" }, key, bytes(signature), utf8.encode(`${PURPOSE}${short}.${facts}`));
  } catch (error) {
    if (/** @type {Error} */ (error).name === "NotSupportedError") return null;
    throw error;
  }
}

/**
 * @param {string} text as scanned or typed
 * @param {{session: string, keys: Key[], list: Map<string, Listed> | null}} known `list`: by digest; null before there was one
 * @returns {Promise<Judgement>}
 */
export async function judge(text, { session, keys, list }) {
  if (!globalThis.crypto?.subtle) return { kind: "cannot" };
  const code = plain(text);
  const signed = SIGNED.exec(code);
  if (!signed && !SHORT.test(code)) return { kind: code.includes(".") ? "forged" : "unknown" };
  const proven = signed ? await isSigned(signed, keys) : null;
  if (proven === false) return { kind: "forged" };
  if (signed && hex(bytes(signed[2]).slice(KEY_ID_BYTES)) !== session.replaceAll("-", "").slice(-12)) return { kind: "wrong" };
  const named = await digest(shortOf(code));
  const listed = list?.get(named);
  if (listed) return { kind: listed.status === "valid" ? "in" : /** @type {"used" | "void"} */ (listed.status), digest: named, listed };
  if (proven) return { kind: "in", digest: named }; // sold after the list was made
  return { kind: list ? "unlisted" : "cannot" };
}
