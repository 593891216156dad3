"""Serve answers that are the same for all buyers: caches may keep them for a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, set_response_etag
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

if TYPE_CHECKING:
    AnyView = APIView
else:  # a mixin for DRF's views, each of which has one of DRF's classes
    AnyView = object

CACHEABLE = "public, max-age=1"  # API.md, Conventions


class PublicCatalogue(AnyView):
    """A view whose answers to GET carry an `ETag`, and are 304 for a client that has them."""

    def finalize_response(self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any) -> Any:
        answer = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[arg-type]
        if request.method in {"GET", "HEAD"} and answer.status_code == 200 and isinstance(answer, Response):
            answer.add_post_render_callback(lambda rendered: _cacheable(request, rendered))
        return answer


def _cacheable(request: Request, rendered: HttpResponse) -> HttpResponseBase | None:
    rendered["Cache-Control"] = CACHEABLE
    set_response_etag(rendered)
    # DRF has no other name for Django's request.
    return get_conditional_response(request._request, etag=rendered["ETag"], response=rendered)  # noqa: SLF001
