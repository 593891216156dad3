"""Route admin pages without a list of their own. They come before the admin's own addresses, and need its access."""

from django.contrib import admin
from django.urls import path

from ticketing.staff import desk, glance, money_desk, refund_desk

urlpatterns = [
    path("sessions/<uuid:session_id>/map", admin.site.admin_view(desk.seat_desk), name="seat-desk"),
    path("sessions/<uuid:session_id>/holders", admin.site.admin_view(desk.seat_holders), name="seat-holders"),
    path("glance", admin.site.admin_view(glance.glance), name="glance"),
    path("money", admin.site.admin_view(money_desk.money_desk), name="money-desk"),
    path("refunds", admin.site.admin_view(refund_desk.refund_desk), name="refund-desk"),
    path("refunds/<uuid:refund_id>/receipt", admin.site.admin_view(refund_desk.refund_receipt), name="refund-receipt"),
    path("money.csv", admin.site.admin_view(money_desk.money_csv), name="money-csv"),
]
