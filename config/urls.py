"""Every address of the site: the API, the admin, the pages. Health and metrics are answered before (config/middleware.py)."""

from django.contrib import admin
from django.urls import include, path

import reservations.urls
import sessions_app.urls
import ticketing.urls
from config import auth_api, health, schema
from ticketing import gate_api, readers

handler400 = "config.problems.bad_request"
handler403 = "config.problems.forbidden"
handler404 = "config.problems.not_found"
handler500 = "config.problems.failed"

api = [
    *reservations.urls.api_urlpatterns(sales_of=readers.sale_bodies),  # first: these are asked for most
    *ticketing.urls.order_urlpatterns,
    *sessions_app.urls.api_urlpatterns,
    path("me", auth_api.MeView.as_view(), name="api-me"),
    path("auth/guest", auth_api.GuestView.as_view(), name="api-guest"),
    path("auth/register", auth_api.RegisterView.as_view(), name="api-register"),
    path("auth/token", auth_api.TokenView.as_view(), name="api-token"),
    path("auth/token/refresh", auth_api.RefreshView.as_view(), name="api-token-refresh"),
    *ticketing.urls.api_urlpatterns,
]

urlpatterns = [
    path("api/v1/", include(api)),
    path("api/schema", schema.SchemaView.as_view(), name="schema"),
    path("api/docs", schema.DocsView.as_view(), name="docs"),
    *(path(address.removeprefix("/"), view) for address, view in health.PROBES.items()),
    path(".well-known/frontrow-tickets.json", gate_api.public_keys, name="ticket-keys"),
    path("admin/", include("ticketing.desk_urls")),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("sessions_app.page_urls")),
    path("", include("config.plain_forms")),
    path("", include("config.counter")),
    path("", include("reservations.page_urls")),
    path("", include("ticketing.page_urls")),
]
