"""Route every address of the site: the API, the admin, the pages. The middleware answers health and metrics."""

from django.contrib import admin
from django.urls import include, path

import reservations.urls
import sessions_app.urls
import ticketing.urls
from config.web import health
from config.web.openapi import views
from ticketing.api import accounts, gate, readers

handler400 = "config.web.problems.bad_request"
handler403 = "config.web.problems.forbidden"
handler404 = "config.web.problems.not_found"
handler500 = "config.web.problems.failed"

api = [
    *reservations.urls.api_urlpatterns(sales_of=readers.sale_bodies),  # first, because these are requested most
    *ticketing.urls.order_urlpatterns,
    *sessions_app.urls.api_urlpatterns,
    path("me", accounts.MeView.as_view(), name="api-me"),
    path("auth/guest", accounts.GuestView.as_view(), name="api-guest"),
    path("auth/register", accounts.RegisterView.as_view(), name="api-register"),
    path("auth/token", accounts.TokenView.as_view(), name="api-token"),
    path("auth/token/refresh", accounts.RefreshView.as_view(), name="api-token-refresh"),
    *ticketing.urls.api_urlpatterns,
]

urlpatterns = [
    path("api/v1/", include(api)),
    path("api/schema", views.SchemaView.as_view(), name="schema"),
    path("api/docs", views.DocsView.as_view(), name="docs"),
    *(path(address.removeprefix("/"), view) for address, view in health.PROBES.items()),
    path(".well-known/frontrow-tickets.json", gate.public_keys, name="ticket-keys"),
    path("admin/", include("ticketing.staff.urls")),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("sessions_app.pages.urls")),
    path("", include("ticketing.pages.plain_forms")),
    path("", include("ticketing.pages.counter")),
    path("", include("reservations.pages.urls")),
    path("", include("ticketing.pages.urls")),
]
