"""Describe the API in its OpenAPI document."""

from __future__ import annotations


def about(*, site_url: str, version: str) -> dict[str, object]:
    """Return drf-spectacular's settings."""
    return {
        "TITLE": "Frontrow",
        "DESCRIPTION": (
            "A box office that survives the on-sale. Get a token with `POST /api/v1/auth/guest`, look at what is "
            "on sale, ask for seats, pay. Every error is `application/problem+json` (RFC 9457) with a `code`."
        ),
        "VERSION": version,
        "LICENSE": {"name": "MIT", "identifier": "MIT"},
        "CONTACT": {"name": "The box office", "url": site_url},
        "SERVERS": [{"url": site_url}],
        "OAS_VERSION": "3.1.0",
        "SERVE_INCLUDE_SCHEMA": False,
        "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
        "SWAGGER_UI_DIST": "SIDECAR",
        "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
        "REDOC_DIST": "SIDECAR",
        "SCHEMA_PATH_PREFIX": "/api/v1",
        "TAGS": [
            {"name": name, "description": description}
            for name, description in (
                ("Who is asking", "Guests and accounts. A token, or the cookie that the pages set."),
                ("Catalogue", "What is on, and what is left of it."),
                ("Holding seats", "All or nothing, first come, first served."),
                ("Buying in one step", "Orders: places, payment and tickets in one request."),
                ("Sales and tickets", "Paying, and what was bought."),
                ("Doors", "Letting people in, for gate staff."),
            )
        ],
        "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False, "tryItOutEnabled": True},
        "POSTPROCESSING_HOOKS": [
            "drf_spectacular.hooks.postprocess_schema_enums",
            "config.web.openapi.inspection.empty_filters_are_none",
            "config.web.openapi.inspection.bodies_are_strict",
            "config.web.openapi.answers.security_is_said",
            "config.web.openapi.answers.catalogue_is_conditional",
            "config.web.openapi.answers.problems_are_named",
            "config.web.openapi.answers.headers_are_named",
        ],
        "ENUM_NAME_OVERRIDES": {
            "ReservationStatus": "reservations.models.Status",
            "Reason": "reservations.orders.REASONS",
            "ConflictReason": "reservations.api.serializers.CONFLICTS",
            "PaymentStatus": "ticketing.models.PaymentStatus",
            "TicketStatus": "ticketing.models.TicketStatus",
            "RefundStatus": "ticketing.models.RefundStatus",
            "VoidReasonEnum": "ticketing.voiding.VoidReason",
        },
    }
