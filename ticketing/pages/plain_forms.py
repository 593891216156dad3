"""Serve browsers without scripts: forms do what scripts do through the API, and answer with a page.

Refusals use the words of the catalogues, like those of the API.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec
from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist
from django.http import Http404, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from rest_framework.exceptions import ValidationError

from base.addresses import client_ip
from base.refusals import Refused, when
from base.rest import field_errors
from base.standing import stand
from reservations.admission import front_door
from reservations.hold_request import Ask
from reservations.operations import holding
from reservations.operations.holding import Terms
from reservations.refusals import UnknownTicketType
from sessions_app.pages.visitors import Visitor
from ticketing import identity
from ticketing.api.order_fields import OrderFields
from ticketing.api.orders import ask_of
from ticketing.api.sales import pay_with
from ticketing.api.serializers import PayFields
from ticketing.payments.gateways import registry

PATIENCE = 10.0  # seconds to wait for a payment before the page says that it is under way


def answered(request: Visitor, act: Callable[[], HttpResponse], *, back: str) -> HttpResponse:
    """Return the result of `act`, or show a refusal on the page at `back`.

    Raises: Http404; errors of a missing dependency.
    """
    try:
        return act()
    except ObjectDoesNotExist:
        raise Http404 from None
    except ValidationError as error:
        said = " ".join(wrong["message"] for wrong in field_errors(error.detail))
    except Refused as error:
        said = f"{in_words(error)} {when(error.retry_after)}"
    messages.warning(request, said.strip())
    return redirect(back)


def leads_to(request: Visitor, page: str, identity_of: UUID) -> HttpResponse:
    """Redirect to the page of what is done now.

    Later failures, such as a browser session that cannot be saved, change nothing.
    """
    url = reverse(page, args=[identity_of])
    stand(request, lambda: HttpResponseRedirect(url), instead_of=400)
    return redirect(url)


def in_words(refusal: Refused) -> str:
    """Write a refusal: the errors of fields, or the seats; otherwise the sentence."""
    facts: Mapping[str, Any] = refusal.facts()
    if errors := facts.get("errors"):
        return " ".join(error["message"] for error in errors)
    return f"{refusal.said()} {', '.join(conflict['seat'] for conflict in facts.get('conflicts', []))}".strip()


def whose(request: Visitor) -> UUID:
    """Return the buyer who acts. Refuse a form for another person: the user signed in or out after it was made.

    Raises: OtherBuyer.
    """
    meant = request.POST.get("buyer", "")
    if meant and request.buyer is None:
        raise identity.OtherBuyer
    buyer = identity.ensure_buyer(request)
    if meant:
        identity.require_the_same(buyer, meant)
    return buyer


# --- Holds


@require_POST
@never_cache
def hold(request: Visitor, session_id: UUID) -> HttpResponse:
    chosen = [("seat", seat) for seat in request.POST.getlist("seats")]

    def act() -> HttpResponse:
        buyer = whose(request)
        admission = front_door.admit(
            asked(session_id, request.POST),
            buyer=buyer,
            is_guest=identity.is_guest(request),
            address=client_ip(request),
        )
        return leads_to(request, "reservation", admission.id)

    return answered(
        request, act, back=f"{reverse('session', args=[session_id])}?{urlencode(chosen + lane_of(request.POST))}#choose"
    )


def asked(session_id: UUID, form: QueryDict) -> Ask:
    """Read a choice of places. Its key is made of the page's key and the choice, so a form sent twice is one request.

    Raises: UnknownTicketType, ValidationError.
    """
    match form.get("way"):
        case "best":
            ask = Ask(
                session=session_id,
                best_available=True,
                quantity=whole(form.get("quantity", "")),
                ticket_type=ticket_type(form.get("ticket_type", "")),
                accessible=form.get("accessible") == "yes",
            )
        case "stock":
            kind, quantity = places(form)
            ask = Ask(session=session_id, ticket_type=kind, quantity=quantity)
        case _:
            ask = Ask(session=session_id, seats=tuple(form.getlist("seats")))
    ask = msgspec.structs.replace(ask, lane_code=form.get("lane_code", ""))
    return with_key(ask, form.get("key", ""))


def places(form: QueryDict) -> tuple[UUID, int]:
    """Read ticket type and number: `places.TYPE=2`, a field per type, or `places=TYPE:2`, one choice.

    Raises: UnknownTicketType, ValidationError.
    """
    if said := form.get("places"):
        chosen = [said.split(":", 1)]
    else:
        beside = {name.removeprefix("places."): str(form[name]).strip() for name in form if name.startswith("places.")}
        chosen = [[kind, number] for kind, number in beside.items() if number not in {"", "0"}]
    if not chosen:
        raise ValidationError({"quantity": [_("Choose how many places.")]})
    if len(chosen) > 1:
        raise ValidationError({"quantity": [_("Please choose one kind of place at a time.")]})
    kind = ticket_type(chosen[0][0])
    if kind is None:
        raise UnknownTicketType
    return kind, whole(chosen[0][-1])


def lane_of(form: QueryDict) -> list[tuple[str, str]]:
    """Return the query that brings the page back to its lane."""
    code = form.get("lane_code", "")
    return [("lane", code)] if code else []


def with_key(ask: Ask, of_page: str) -> Ask:
    if not of_page:
        return ask
    return msgspec.structs.replace(ask, key=hashlib.sha256(f"{of_page} {ask.fingerprint()}".encode()).hexdigest())


def whole(text: str) -> int:
    """Read a number. Return 0, which is never valid, if it is none."""
    return int(text) if re.fullmatch("[0-9]{1,4}", text) else 0


def ticket_type(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


# --- Orders


@require_POST
@never_cache
def order(request: Visitor, session_id: UUID) -> HttpResponse:
    def act() -> HttpResponse:
        buyer = whose(request)
        admission = front_door.admit(
            ordered(request.POST), buyer=buyer, is_guest=identity.is_guest(request), address=client_ip(request)
        )
        return leads_to(request, "order", admission.id)

    return answered(
        request, act, back=f"{reverse('session', args=[session_id])}?{urlencode(lane_of(request.POST))}#order-form"
    )


def ordered(form: QueryDict) -> Ask:
    """Read an order like the body of `POST /orders`.

    Raises: UnknownTicketType, ValidationError, and what `ask_of` raises.
    """
    kind, quantity = places(form)
    at_the_door = form.get("method") == "door"  # an order without a payment is paid at the door
    fields = OrderFields(
        data={
            "ticket_type": str(kind),
            "quantity": quantity,
            **({} if at_the_door else {"payment": means_of(form)}),
            "email": form.get("email", "").strip(),
            **({"lane_code": form["lane_code"]} if form.get("lane_code") else {}),
        }
    )
    fields.is_valid(raise_exception=True)
    return with_key(ask_of(fields.wish(), key=""), form.get("key", ""))


def means_of(form: QueryDict) -> dict[str, str]:
    """Return the means that the form names. Raises: ValidationError, for a method whose form needs a script."""
    name = form.get("method") or registry.FAKE.name
    method = registry.METHODS.get(name)
    if method is not None and method.without_script:
        raise ValidationError({"payment": [str(method.without_script)]})
    return {"method": name, "token": form.get(f"token.{name}") or form.get("token", "")}


# --- Reservations


@require_POST
@never_cache
def extend(request: Visitor, reservation_id: UUID) -> HttpResponse:
    return on_reservation(
        request,
        reservation_id,
        lambda buyer: holding.extend(reservation_id=reservation_id, buyer=buyer),
    )


@require_POST
@never_cache
def price(request: Visitor, reservation_id: UUID) -> HttpResponse:
    return on_reservation(
        request,
        reservation_id,
        lambda buyer: holding.price(reservation_id=reservation_id, buyer=buyer, **named_terms(request.POST)),
    )


def named_terms(form: QueryDict) -> Terms:
    """Read concessions by seat, or how many by concession; and the voucher, none if its field is empty."""
    concessions: list[tuple[str, str | int]] = []
    for name, value in form.items():
        kind, _colon, key = name.partition(":")
        if kind == "concession" and value:
            concessions.append((key, str(value)))
        elif kind == "count":
            concessions.append((key, whole(str(value))))
    return {"concessions": concessions, "voucher": form.get("voucher", "").replace("\0", "").strip()}


@require_POST
@never_cache
def release(request: Visitor, reservation_id: UUID) -> HttpResponse:
    return on_reservation(
        request,
        reservation_id,
        lambda buyer: holding.release(reservation_id=reservation_id, buyer=buyer),
    )


@require_POST
@never_cache
def give_order_up(request: Visitor, order_id: UUID) -> HttpResponse:
    return on_reservation(
        request,
        order_id,
        lambda buyer: holding.release(reservation_id=order_id, buyer=buyer),
        page="order",
    )


@require_POST
@never_cache
def pay(request: Visitor, reservation_id: UUID) -> HttpResponse:
    """Pay, and wait for the gateway. The page of a paid reservation leads on to its tickets."""

    def act(buyer: UUID) -> None:
        means = {"payment": means_of(request.POST)} if {"method", "token"} & request.POST.keys() else {}
        fields = PayFields(data={**means, "email": request.POST.get("email", "").strip()})
        fields.is_valid(raise_exception=True)
        pay_with(
            fields,
            reservation=reservation_id,
            buyer=buyer,
            on_start=lambda _payment: leads_to(request, "reservation", reservation_id),
            wait=PATIENCE,
        )

    return on_reservation(request, reservation_id, act)


def on_reservation(
    request: Visitor, reservation_id: UUID, act: Callable[[UUID], object], *, page: str = "reservation"
) -> HttpResponse:
    """Do `act`, and show the result on the page of the reservation or the order."""
    if request.buyer is None:
        raise Http404
    buyer, back = request.buyer, reverse(page, args=[reservation_id])

    def acted() -> HttpResponse:
        act(buyer)
        return redirect(back)

    return answered(request, acted, back=back)


# --- Scripts


@require_safe
@never_cache
def visitor(request: Visitor) -> JsonResponse:
    """Tell a page who looks at it, and the token that counts now; a browser without an identity becomes a guest.

    A page that is the same for everybody asks before its first request, any page after its browser signed in or out.
    """
    account = request.user if request.user.is_authenticated else None
    return JsonResponse(
        {
            "token": get_token(request),
            "buyer": str(request.ensure_buyer()),
            "email": account.email if account else "",
        }
    )


urlpatterns = [
    path("visitor", visitor, name="visitor"),
    path("csrf-token", visitor),  # its name in 0.2, which clients may know
    path("sessions/<uuid:session_id>/hold", hold, name="hold"),
    path("sessions/<uuid:session_id>/order", order, name="order-places"),
    path("reservations/<uuid:reservation_id>/extend", extend, name="extend"),
    path("reservations/<uuid:reservation_id>/price", price, name="price"),
    path("reservations/<uuid:reservation_id>/release", release, name="release"),
    path("reservations/<uuid:reservation_id>/pay", pay, name="pay"),
    path("orders/<uuid:order_id>/give-up", give_order_up, name="give-order-up"),
]
