from django.urls import URLPattern, path

from sessions_app import api

api_urlpatterns: list[URLPattern] = [  # under /api/v1/
    path("venues", api.VenueList.as_view(), name="api-venues"),
    path("halls", api.HallList.as_view(), name="api-halls"),
    path("shows", api.ShowList.as_view(), name="api-shows"),
    path("sessions", api.SessionList.as_view(), name="api-sessions"),
    path("sessions/<uuid:pk>", api.SessionDetail.as_view(), name="api-session"),
    path("sessions/<uuid:pk>/seats", api.SessionSeats.as_view(), name="api-session-seats"),
    path("ticket-types", api.TicketTypeList.as_view(), name="api-ticket-types"),
]
urlpatterns: list[URLPattern] = []  # pages
