"""Check that what moves money or sends letters asks first, with numbers and amounts, and again after a change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from realtime.models import Event
from sessions_app.models import Session
from tests.support import house
from tests.support.house import House
from tests.support.pages import Form, body_of, confirmed, forms_in, window_of
from ticketing.models import Refund, RefundStatus, Sale, Ticket
from ticketing.payments import refunds
from ticketing.staff.refund_desk import ACTIONS

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unhurried")]

# Django's deleting asks by itself. The others move no money, send no letters, and can be undone.
HARMLESS = {"delete_selected", "block", "unblock", "requeue", "cleanup_expired_attempts"}
SALES, TICKETS = reverse("admin:ticketing_sale_changelist"), reverse("admin:ticketing_ticket_changelist")
SESSIONS = reverse("admin:sessions_app_session_changelist")


def of_the_hall(standing: House) -> dict[str, Any]:
    return {"action": "call_off_and_refund", "_selected_action": [standing.session.pk]}


def asked(answer: Any) -> Form | None:
    """Return the form of the question on the page, if any."""
    if answer.status_code != 200:
        return None
    found = [form for form in forms_in(body_of(answer), "") if "confirmed" in form.values]
    return found[0] if found else None


def facts(answer: Any) -> dict[str, str]:
    return dict(answer.context_data["question"].facts)


def actions() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each action of each list of the admin, for existing rows."""
    client = window_of("owner")
    for model in admin.site._registry:  # noqa: SLF001 what is registered
        page = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for form in forms_in(body_of(client.get(page)), page):
            offered = {name for name in form.choices.get("action", []) if name}
            keys = list(model._base_manager.values_list("pk", flat=True)[:100])
            yield from ((page, {"action": name, "_selected_action": keys}) for name in sorted(offered - HARMLESS))


def test_action_of_the_admin_asks_first(standing: House) -> None:
    client = window_of("owner")
    refused = Refund.objects.filter(status=RefundStatus.PAID_BACK).first()
    assert refused is not None
    Refund.objects.filter(pk=refused.pk).update(status=RefundStatus.REFUSED)
    before = Event.objects.count(), Refund.objects.count(), LogEntry.objects.count()
    tried = list(actions())
    silent = [sent["action"] for page, sent in tried if asked(client.post(page, sent)) is None]
    assert silent == []
    assert len(tried) == 7, tried
    for action in ("retry", "hand_out_instead"):
        assert asked(client.post(reverse("refund-desk"), {"action": action, "refund": refused.pk})) is not None
    assert set(ACTIONS) == {"hand_out", "retry", "hand_out_instead"}  # test_handing_out.py asks the first
    assert (Event.objects.count(), Refund.objects.count(), LogEntry.objects.count()) == before


def test_refund_says_what_it_comes_to(standing: House) -> None:
    """Choose a sale whose two tickets are valid, one of them transferred."""
    client, sale = window_of("boxoffice"), Ticket.objects.get(seat__label="A2", session=standing.session).sale
    chosen = {"action": "refund", "_selected_action": [sale.pk]}
    assert facts(client.post(SALES, chosen)) == {
        "Sales": "1",
        "Tickets that become void": "2",
        "Money to be given back": "R$37.50",
        "People who get a letter": "1 buyer; 1 person with tickets that were passed on",
    }
    answer = confirmed(client, SALES, chosen)
    assert answer.status_code == 302
    sale.refresh_from_db()
    assert (sale.status, sale.refunded) == ("refunded", 3750)
    noted = LogEntry.objects.get(object_id=str(sale.pk))
    assert noted.change_message == "R$37.50 was given back."
    assert "There is nothing left to give back for these." in body_of(client.post(SALES, chosen, follow=True))


def test_refund_asks_again_where_it_has_changed(standing: House) -> None:
    """Let another clerk give one of the two tickets back between question and answer."""
    client, ticket = window_of("boxoffice", "pt-br"), Ticket.objects.get(seat__label="A2", session=standing.session)
    chosen = {"action": "refund", "_selected_action": [ticket.sale_id]}
    question = asked(client.post(SALES, chosen))
    assert question is not None
    refunds.ask_refund(sale_id=ticket.sale_id, buyer=None, tickets=[ticket.pk])
    again = client.post(SALES, question.values)
    assert facts(again)["Ingressos que perdem a validade"] == "1"
    assert "Isto mudou desde que você abriu a pergunta, por isso nada foi feito." in body_of(again)
    assert Refund.objects.filter(sale=ticket.sale_id).count() == 1
    answer = asked(again)
    assert answer is not None
    assert client.post(SALES, answer.values).status_code == 302
    assert Refund.objects.filter(sale=ticket.sale_id).count() == 2


def test_call_off_says_what_it_comes_to(standing: House) -> None:
    client = window_of("owner")
    said = facts(client.post(SESSIONS, of_the_hall(standing)))
    live = Ticket.objects.filter(session=standing.session).exclude(status="void")
    paid = sum(ticket.price for ticket in live if not ticket.due)
    assert said["Tickets that become void"] == str(live.count())
    assert said["Money to be given back"] == f"R${paid / 100:.2f}"
    assert said["At the counter, included above"] == "R$90.00"
    assert said["Holds and orders that end"] == "3"
    assert (
        said["People who get a letter"]
        == f"{len({t.sale_id for t in live})} buyers; 1 person with tickets that were passed on"
    )


@pytest.mark.django_db(transaction=True)
def test_call_off_asks_again_after_a_sale_in_the_meantime(standing: House) -> None:
    client = window_of("owner")
    question = asked(client.post(SESSIONS, of_the_hall(standing)))
    assert question is not None
    house.buy(standing.session, "B4", buyer=standing.ana)
    again = client.post(SESSIONS, question.values)
    assert asked(again) is not None
    assert "This has changed since you opened the question" in body_of(again)
    assert Session.objects.get(pk=standing.session.pk).cancelled_at is None
    assert confirmed(client, SESSIONS, of_the_hall(standing)).status_code == 302
    assert Session.objects.get(pk=standing.session.pk).cancelled_at is not None
    assert {sale.status for sale in Sale.objects.filter(session=standing.session)} == {"refunded"}
    assert LogEntry.objects.filter(object_id=str(standing.session.pk), change_message__startswith="Called off").exists()


def test_answer_without_leave_does_nothing(standing: House) -> None:
    question = asked(window_of("owner").post(SESSIONS, of_the_hall(standing)))
    assert question is not None
    for name in ("gate", "ana"):
        window_of(name).post(SESSIONS, question.values)
    assert Session.objects.get(pk=standing.session.pk).cancelled_at is None
