from django.urls import path

from sessions_app.pages import views

urlpatterns = [
    path("", views.whats_on, name="whats-on"),
    path("sessions/<uuid:session_id>", views.session, name="session"),
]
