from django.urls import URLPattern, path

from ticketing import api

api_urlpatterns: list[URLPattern] = [  # under /api/v1/
    path("reservations/<uuid:reservation>/pay", api.PayView.as_view(), name="api-reservation-pay"),
    path("reservations/<uuid:reservation>/confirm", api.PayView.as_view(), name="api-reservation-confirm"),
    path("sales", api.SalesView.as_view(), name="api-sales"),
    path("sales/<uuid:sale>", api.SaleView.as_view(), name="api-sale"),
    path("sales/<uuid:sale>/tickets.pdf", api.SalePaperView.as_view(), name="api-sale-tickets-pdf"),
    path("users/<uuid:buyer>/purchases", api.PurchasesView.as_view(), name="api-purchases"),
    path("tickets/<uuid:ticket>", api.TicketView.as_view(), name="api-ticket"),
    path("tickets/<uuid:ticket>/qr.svg", api.TicketCodeView.as_view(), name="api-ticket-qr"),
]
urlpatterns: list[URLPattern] = []  # pages
