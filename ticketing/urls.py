from django.urls import URLPattern, path

from ticketing import api, gate_api, orders_api, tickets_api

order_urlpatterns: list[URLPattern] = [  # under /api/v1/
    path("orders", orders_api.OrdersView.as_view(), name="api-orders"),
    path("orders/<uuid:order>", orders_api.OrderView.as_view(), name="api-order"),
]
api_urlpatterns: list[URLPattern] = [  # under /api/v1/
    path("reservations/<uuid:reservation>/pay", api.PayView.as_view(), name="api-reservation-pay"),
    path("reservations/<uuid:reservation>/confirm", api.PayView.as_view(), name="api-reservation-confirm"),
    path("webhooks/<slug:method>", api.WebhookView.as_view(), name="api-webhook"),
    path("sales", api.SalesView.as_view(), name="api-sales"),
    path("sales/<uuid:sale>", api.SaleView.as_view(), name="api-sale"),
    path("sales/<uuid:sale>/refund", api.RefundView.as_view(), name="api-sale-refund"),
    path("sales/<uuid:sale>/tickets.pdf", tickets_api.SalePaperView.as_view(), name="api-sale-tickets-pdf"),
    path("sales/<uuid:sale>/session.ics", tickets_api.SaleCalendarView.as_view(), name="api-sale-calendar"),
    path("users/<uuid:buyer>/purchases", api.PurchasesView.as_view(), name="api-purchases"),
    path("tickets", tickets_api.TicketsView.as_view(), name="api-tickets"),
    path("tickets/<uuid:ticket>", tickets_api.TicketView.as_view(), name="api-ticket"),
    path("tickets/<uuid:ticket>/qr.svg", tickets_api.TicketSvgView.as_view(), name="api-ticket-qr"),
    path("tickets/<uuid:ticket>/qr.png", tickets_api.TicketPngView.as_view(), name="api-ticket-png"),
    path("tickets/<uuid:ticket>/ticket.pdf", tickets_api.TicketPaperView.as_view(), name="api-ticket-pdf"),
    path("tickets/<uuid:ticket>/session.ics", tickets_api.TicketCalendarView.as_view(), name="api-ticket-calendar"),
    path("tickets/<uuid:ticket>/transfer", tickets_api.PassOnView.as_view(), name="api-ticket-transfer"),
    path("checkins", gate_api.CheckInsView.as_view(), name="api-check-ins"),
    path("sessions/<uuid:session>/door-list", gate_api.DoorListView.as_view(), name="api-door-list"),
]
urlpatterns: list[URLPattern] = []  # pages
