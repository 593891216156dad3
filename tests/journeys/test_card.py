"""Pay by card through Stripe: its script is a stub in the browser, its server a stub behind ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.journeys.conftest import Site, Window
from tests.journeys.steps import choose, expect_tickets, hold, open_session, pay
from tests.journeys.test_looks import expect_accessible
from tests.processes import Process, free_port
from tests.ticketing import stripe_stub

pytestmark = pytest.mark.journey

# As much of Stripe.js as the page uses: a field for the name of a payment method, which Stripe would make of a card.
STRIPE_JS = """
globalThis.Stripe = (key, { locale }) => ({
    elements: () => ({
        create: (kind) => {
            const field = document.createElement("input");
            field.setAttribute("aria-label", `${kind} ${key} ${locale}`);
            const heard = {};
            return {
                field,
                on: (name, hear) => (heard[name] = hear),
                mount: (place) => (place.append(field), heard.ready()),
            };
        },
    }),
    createPaymentMethod: async ({ card, billing_details: billing }) => {
        globalThis.billed = billing?.email;
        return card.field.value
            ? { paymentMethod: { id: card.field.value } }
            : { error: { message: "Your card number is incomplete." } };
    },
});
"""


@pytest.fixture(scope="module")
def shop(site: Site) -> Iterator[Process]:
    """Run one more web process of the site, which accepts cards and the sandbox's tokens, and allocates by itself."""
    with stripe_stub.serving() as (_stub, url):
        environment = {"QUEUE": "in_process", "PAYMENT_METHODS": "stripe,fake", "STRIPE_API_URL": url}
        keys = {
            "STRIPE_API_KEY": "sk_test_1",
            "STRIPE_PUBLISHABLE_KEY": "pk_test_1",
            "STRIPE_WEBHOOK_SECRET": "whsec_1",
        }
        shop = site.processes.start("both", port=free_port(), env=environment | keys)
        site.processes.wait_until_up(shop)
        yield shop
        shop.stop()


@pytest.fixture(scope="module")
def browser_context_args(shop: Process) -> dict[str, str]:
    return {"base_url": shop.url}


def serve_stripe(route: Route) -> None:
    route.fulfill(content_type="text/javascript", body=STRIPE_JS)


def card(page: Page, method: str) -> None:
    page.get_by_label("card pk_test_1 en").fill(method)
    page.locator('#payment [type="submit"]').click()


def expect_said(page: Page, text: str) -> None:
    expect(page.locator('[data-part="message"]')).to_contain_text(text)
    expect(page.locator("#hold-panel")).to_have_attribute("data-status", "held")


def test_a_card_pays_after_others_were_refused(site: Site, window: Window, refusals: set[str]) -> None:
    refusals.update({"ERR_FAILED /v3/", "402 /api/v1/reservations/*/pay"})
    ana = window()
    ana.route("https://js.stripe.com/**", lambda route: route.abort())
    open_session(ana, site.new_session(hold_seconds=300))
    choose(ana, "B3")
    hold(ana)
    missing = ana.get_by_text("The card form could not be loaded")
    expect(missing).to_be_visible()
    ana.unroute("https://js.stripe.com/**")
    ana.route("https://js.stripe.com/**", serve_stripe)
    ana.get_by_role("button", name="Try again").click()
    expect(ana.get_by_label("card pk_test_1 en")).to_be_visible()
    expect(missing).to_be_hidden()
    expect_accessible(ana)

    card(ana, "")
    expect(ana.get_by_text("Your card number is incomplete.")).to_be_visible()
    card(ana, stripe_stub.ABROAD)
    expect(ana.get_by_text("Your card number is incomplete.")).to_be_hidden()
    expect_said(ana, "Your bank wants to ask you something")
    card(ana, stripe_stub.DECLINED)
    expect_said(ana, "The card was declined")
    ana.get_by_label("E-mail for the tickets").fill("ana@example.org")
    card(ana, "pm_card_visa")
    expect_tickets(ana, 1)
    expect(ana.get_by_text("Card", exact=True)).to_be_visible()


def test_the_sandbox_is_beside_it(site: Site, window: Window, refusals: set[str]) -> None:
    refusals.add("402 /api/v1/reservations/*/pay")
    ana = window()
    ana.route("https://js.stripe.com/**", serve_stripe)
    open_session(ana, site.new_session())
    choose(ana, "B3")
    hold(ana)
    ana.get_by_label("Sandbox").check()
    expect(ana.get_by_label("card pk_test_1 en")).to_be_hidden()
    pay(ana, "declined")
    expect_said(ana, "The card was declined")
    pay(ana)
    expect_tickets(ana, 1)


def test_an_order_is_paid_by_card_in_one_step(site: Site, window: Window) -> None:
    places = [{"name": "Pista", "price": 12000, "capacity": 3}]
    session = site.new_session(rows=None, seats_per_row=None, ticket_types=places)
    ana = window()
    ana.route("https://js.stripe.com/**", serve_stripe)
    open_session(ana, session)
    ana.locator("[data-stock]", has_text="Pista").get_by_role("button", name="One more").click()
    form = ana.locator("#order-form")
    form.get_by_label("card pk_test_1 en").fill("pm_card_visa")
    form.get_by_role("button", name="Buy now").click()
    expect(ana.locator("#order")).to_have_attribute("data-status", "COMPLETED")


def test_without_a_script_the_page_says_what_is_missing(site: Site, window: Window) -> None:
    ana = window(java_script_enabled=False)
    ana.goto(f"/sessions/{site.new_session()}")
    ana.get_by_role("checkbox", name="Row B seat 3, free, R$30.00").check()
    ana.get_by_role("button", name="Hold these places").click()
    expect(ana.locator("#payment noscript p")).to_contain_text(
        "Your card's number goes from this page straight to Stripe"
    )
    ana.get_by_role("button", name="Pay").click()
    expect(ana.locator(".notices")).to_have_text(
        "You need JavaScript to pay by card. Switch it on and load the page again."
    )
    ana.get_by_label("Sandbox").check()
    pay(ana)
    expect(ana.locator(".ticket")).to_have_count(1)
