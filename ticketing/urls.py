from django.urls import URLPattern, path

from ticketing.api import gate, orders, sales, tickets

order_urlpatterns: list[URLPattern] = [  # under /api/v1/
    path("orders", orders.OrdersView.as_view(), name="api-orders"),
    path("orders/<uuid:order>", orders.OrderView.as_view(), name="api-order"),
]
api_urlpatterns: list[URLPattern] = [  # under /api/v1/
    path("reservations/<uuid:reservation>/pay", sales.PayView.as_view(), name="api-reservation-pay"),
    path("reservations/<uuid:reservation>/confirm", sales.PayView.as_view(), name="api-reservation-confirm"),
    path("webhooks/<slug:method>", sales.WebhookView.as_view(), name="api-webhook"),
    path("sales", sales.SalesView.as_view(), name="api-sales"),
    path("sales/<uuid:sale>", sales.SaleView.as_view(), name="api-sale"),
    path("sales/<uuid:sale>/refund", sales.RefundView.as_view(), name="api-sale-refund"),
    path("sales/<uuid:sale>/tickets.pdf", tickets.SalePaperView.as_view(), name="api-sale-tickets-pdf"),
    path("sales/<uuid:sale>/session.ics", tickets.SaleCalendarView.as_view(), name="api-sale-calendar"),
    path("users/<uuid:buyer>/purchases", sales.PurchasesView.as_view(), name="api-purchases"),
    path("tickets", tickets.TicketsView.as_view(), name="api-tickets"),
    path("tickets/<uuid:ticket>", tickets.TicketView.as_view(), name="api-ticket"),
    path("tickets/<uuid:ticket>/qr.svg", tickets.TicketSvgView.as_view(), name="api-ticket-qr"),
    path("tickets/<uuid:ticket>/qr.png", tickets.TicketPngView.as_view(), name="api-ticket-png"),
    path("tickets/<uuid:ticket>/ticket.pdf", tickets.TicketPaperView.as_view(), name="api-ticket-pdf"),
    path("tickets/<uuid:ticket>/session.ics", tickets.TicketCalendarView.as_view(), name="api-ticket-calendar"),
    path("tickets/<uuid:ticket>/transfer", tickets.PassOnView.as_view(), name="api-ticket-transfer"),
    path("checkins", gate.CheckInsView.as_view(), name="api-check-ins"),
    path("sessions/<uuid:session>/door-list", gate.DoorListView.as_view(), name="api-door-list"),
]
urlpatterns: list[URLPattern] = []  # pages
