from django.urls import path

from reservations.pages import views

urlpatterns = [path("reservations/<uuid:reservation_id>", views.reservation, name="reservation")]
