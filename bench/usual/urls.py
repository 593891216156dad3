from django.urls import path

from bench.usual import views

urlpatterns = [
    path("constant", views.constant),
    path("hold", views.Hold.as_view()),
    path("hold-later", views.HoldLater.as_view()),
]
