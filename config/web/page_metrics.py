"""Collect django-prometheus' metrics of pages and the admin. `config.web.middleware` counts the API at a lower cost."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django_prometheus import middleware as prometheus

from config.web import problems

# Other methods would be labels that a stranger chooses, each with a series.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def is_counted(request: HttpRequest) -> bool:
    length = request.META.get("CONTENT_LENGTH") or "0"
    return not problems.is_rest(request) and request.method in METHODS and length.isascii() and length.isdigit()


class Before(prometheus.PrometheusBeforeMiddleware):
    def __call__(self, request: HttpRequest) -> Any:
        return super().__call__(request) if is_counted(request) else self.get_response(request)


class After(prometheus.PrometheusAfterMiddleware):
    """Adapt to Django, which calls the last three methods for every view, whichever middleware a request passed."""

    def __call__(self, request: HttpRequest) -> Any:
        return super().__call__(request) if is_counted(request) else self.get_response(request)

    def process_view(self, request: HttpRequest, *arguments: Any, **named: Any) -> None:
        if is_counted(request):
            super().process_view(request, *arguments, **named)

    def process_template_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        return super().process_template_response(request, response) if is_counted(request) else response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        if is_counted(request):
            super().process_exception(request, exception)
