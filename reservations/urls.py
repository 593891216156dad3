from django.urls import URLPattern, path

from reservations.api import views
from reservations.api.views import SalesOf


def api_urlpatterns(sales_of: SalesOf) -> list[URLPattern]:
    """Return the patterns under /api/v1/. `sales_of` reads sales, which are above this app."""
    one = "reservations/<uuid:reservation>"
    return [
        path("reservations", views.ReservationsView.as_view(sales_of=sales_of), name="api-reservations"),
        path(one, views.ReservationView.as_view(sales_of=sales_of), name="api-reservation"),
        path(f"{one}/extend", views.ExtendView.as_view(), name="api-reservation-extend"),
        path(f"{one}/price", views.PriceView.as_view(), name="api-reservation-price"),
    ]


urlpatterns: list[URLPattern] = []  # pages
