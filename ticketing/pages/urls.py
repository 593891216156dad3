from django.urls import path
from django.views.i18n import set_language

from ticketing.pages import gate, letter_pages, order_pages, views

urlpatterns = [
    path("sales/<uuid:sale_id>", views.sale, name="sale"),
    path("sales/<uuid:sale_id>/refund", views.refund, name="sale-refund"),
    path("sales/<uuid:sale_id>/tickets.pdf", letter_pages.sale_pdf, name="sale-pdf"),
    path("sales/<uuid:sale_id>/session.ics", letter_pages.sale_calendar, name="sale-calendar"),
    path("sales/<uuid:sale_id>/code", letter_pages.mail_code, name="sale-code"),
    path("sales/<uuid:sale_id>/confirm", letter_pages.confirm, name="sale-confirm"),
    path("tickets/<uuid:ticket_id>", views.ticket, name="ticket"),
    path("tickets/<uuid:ticket_id>/ticket.pdf", letter_pages.ticket_pdf, name="ticket-pdf"),
    path("tickets/<uuid:ticket_id>/session.ics", letter_pages.ticket_calendar, name="ticket-calendar"),
    path("tickets/<uuid:ticket_id>/qr.svg", letter_pages.ticket_qr, name="ticket-qr"),
    path("gate", gate.sessions, name="gate"),
    path("gate/worker.js", gate.worker, name="gate-worker"),
    path("gate/<uuid:session_id>", gate.scanner, name="gate-scanner"),
    path("orders", order_pages.orders, name="orders"),
    path("orders/<uuid:order_id>", order_pages.order, name="order"),
    path("my-tickets", views.purchases, name="purchases"),
    path("sign-in", views.sign_in, name="sign-in"),
    path("register", views.register, name="register"),
    path("sign-out", views.sign_out, name="sign-out"),
    path("language", set_language, name="set-language"),
]
