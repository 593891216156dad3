// @ts-check
/**
 * Who looks at a page that is the same for everybody. Runs before the page is painted, so nothing flashes or moves.
 *
 * The cookie `visitor_name` says how to address a visitor who is signed in. It decides nothing: the server never reads it.
 */
(() => {
  /** @param {string} name */
  const cookie = (name) => {
    const found = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
    return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
  };
  const name = cookie("visitor_name");
  document.documentElement.dataset.visitor = name ? "account" : "guest";
  const form = /** @type {HTMLElement | null} */ (document.querySelector('form[data-visitor="account"]'));
  const words = form?.querySelector("[data-visitor-name]");
  if (form && words && name) {
    form.hidden = false;
    words.textContent = (words.textContent ?? "").replace("{name}", name);
  }

  // A form of such a page has no token yet. One that a script sends gets it there (api.js).
  document.addEventListener("submit", async (event) => {
    const sent = /** @type {HTMLFormElement} */ (event.target);
    const token = /** @type {HTMLInputElement | null} */ (sent.querySelector('input[name="csrfmiddlewaretoken"]'));
    if (event.defaultPrevented || !token || token.value) return;
    token.value = cookie("csrftoken");
    if (token.value) return;
    event.preventDefault();
    const response = await fetch("/visitor", { cache: "no-store", credentials: "same-origin" });
    token.value = response.ok ? (await response.json()).token : "none"; // then the server says that nothing was done
    sent.requestSubmit(/** @type {SubmitEvent} */ (event).submitter);
  });
})();
