"""Define the look of the admin, and its menu."""

from __future__ import annotations

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _


def _desk(title: Any, icon: str, model: str) -> dict[str, object]:
    """Return a line of the admin's menu; users see it if they may view the model."""
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": lambda request: request.user.has_perm(f"{app}.view_{name}"),
    }


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Frontrow",
    "SITE_HEADER": "Frontrow",
    "SITE_SUBHEADER": _("Box office"),
    "SITE_SYMBOL": "theaters",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("sessions_app/icon.svg")}
    ],
    "STYLES": [lambda _request: static("sessions_app/admin.css")],
    "SHOW_LANGUAGES": True,
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            {
                "title": _("On sale"),
                "items": [
                    _desk(_("Sessions"), "event", "sessions_app.session"),
                    _desk(_("Shows"), "movie", "sessions_app.show"),
                    _desk(_("Seats"), "event_seat", "sessions_app.seat"),
                    _desk(_("Ticket types"), "sell", "sessions_app.tickettype"),
                    _desk(_("Pools of places"), "workspaces", "sessions_app.pool"),
                    _desk(_("Vouchers"), "redeem", "reservations.voucher"),
                ],
            },
            {
                "title": _("Sold"),
                "items": [
                    {
                        "title": _("At a glance"),
                        "icon": "monitoring",
                        "link": reverse_lazy("glance"),
                        "permission": lambda request: request.user.has_perm("ticketing.view_payment"),
                    },
                    {
                        "title": _("Orders"),
                        "icon": "shopping_cart",
                        "link": reverse_lazy("admin:ticketing_order_changelist"),
                        "permission": lambda request: request.user.has_perm("reservations.view_reservation"),
                    },
                    _desk(_("Sales"), "receipt_long", "ticketing.sale"),
                    _desk(_("Tickets"), "confirmation_number", "ticketing.ticket"),
                    _desk(_("Check-ins"), "door_front", "ticketing.checkin"),
                    _desk(_("Collected at the door"), "payments", "ticketing.collection"),
                    {
                        "title": _("At the counter"),
                        "icon": "point_of_sale",
                        "link": reverse_lazy("counter-sessions"),
                        "permission": lambda request: request.user.has_perm("ticketing.add_sale"),
                    },
                    {
                        "title": _("At the gate"),
                        "icon": "qr_code_scanner",
                        "link": reverse_lazy("gate"),
                        "permission": lambda request: request.user.has_perm("ticketing.add_checkin"),
                    },
                    _desk(_("Transfers"), "forward", "ticketing.transfer"),
                    _desk(_("Reservations"), "hourglass_top", "reservations.reservation"),
                    _desk(_("Payments"), "payments", "ticketing.payment"),
                    _desk(_("Refunds"), "undo", "ticketing.refund"),
                    {
                        "title": _("Refunds to hand out"),
                        "icon": "currency_exchange",
                        "link": reverse_lazy("refund-desk"),
                        "permission": lambda request: request.user.has_perm("ticketing.view_refund"),
                    },
                    {
                        "title": _("Money"),
                        "icon": "account_balance",
                        "link": reverse_lazy("money-desk"),
                        "permission": lambda request: request.user.has_perm("ticketing.view_ledgerentry"),
                    },
                ],
            },
            {
                "title": _("The house"),
                "items": [
                    _desk(_("Venues"), "location_city", "sessions_app.venue"),
                    _desk(_("Halls"), "meeting_room", "sessions_app.hall"),
                    _desk(_("Hall seats"), "chair", "sessions_app.hallseat"),
                    _desk(_("People"), "person", "ticketing.user"),
                    _desk(_("Groups"), "group", "auth.group"),
                    _desk(_("Events"), "history", "realtime.event"),
                ],
            },
        ],
    },
    "COLORS": {
        "primary": {
            "50": "#fbe8ed",
            "100": "#f7d0da",
            "200": "#efa5b8",
            "300": "#e47694",
            "400": "#d34972",
            "500": "#bd2453",
            "600": "#a5123f",
            "700": "#860c31",
            "800": "#6b0b29",
            "900": "#520a20",
            "950": "#330513",
        },
    },
}
