from django.urls import URLPattern, path

from sessions_app.api import views

api_urlpatterns: list[URLPattern] = [  # under /api/v1/
    path("venues", views.VenueList.as_view(), name="api-venues"),
    path("halls", views.HallList.as_view(), name="api-halls"),
    path("shows", views.ShowList.as_view(), name="api-shows"),
    path("sessions", views.SessionList.as_view(), name="api-sessions"),
    path("sessions/<uuid:pk>", views.SessionDetail.as_view(), name="api-session"),
    path("sessions/<uuid:pk>/seats", views.SessionSeats.as_view(), name="api-session-seats"),
    path("ticket-types", views.TicketTypeList.as_view(), name="api-ticket-types"),
]
urlpatterns: list[URLPattern] = []  # pages
