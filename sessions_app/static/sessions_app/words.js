// @ts-check
/** Return words in the page's language: the server puts them into `<template data-word="…">`. */

export const language = document.documentElement.lang || "en";
/** The house's time zone; the phone's own may differ. */
export const zone = /** @type {HTMLMetaElement | null} */ (document.querySelector('meta[name="frontrow-zone"]'))?.content;
const numbers = new Intl.NumberFormat(language);
const plurals = new Intl.PluralRules(language);

/** @type {Map<string, string>} */
const words = new Map(
  Array.from(document.querySelectorAll("template[data-word]"), (element) => [
    /** @type {HTMLElement} */ (element).dataset.word ?? "",
    /** @type {HTMLTemplateElement} */ (element).content.textContent?.trim() ?? "",
  ]),
);

/** @param {string} word @param {Record<string, string | number>} [facts] */
export function say(word, facts = {}) {
  const text = words.get(word) ?? word;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const fact = facts[name] ?? whole;
    return typeof fact === "number" ? numbers.format(fact) : fact;
  });
}

/** Return the form of `word` that fits `n`. @param {string} word @param {number} n @param {Record<string, string | number>} [facts] */
export function count(word, n, facts = {}) {
  const form = `${word}.${plurals.select(n)}`;
  return say(words.has(form) ? form : `${word}.other`, { n, ...facts });
}

/** @type {Map<string, Intl.NumberFormat>} */
const formats = new Map();

/** Write minor units in the page's language. @param {{amount: number, currency: string}} money */
export function money({ amount, currency }) {
  let format = formats.get(currency);
  if (!format) formats.set(currency, (format = new Intl.NumberFormat(language, { style: "currency", currency })));
  return format.format(amount / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
}

const lists = new Intl.ListFormat(language, { type: "conjunction" });

/** Join items, like “A1, A2 and A3”. @param {string[]} items */
export function listed(items) {
  return lists.format(items);
}
