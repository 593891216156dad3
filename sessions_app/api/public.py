"""Serve answers that are the same for all buyers: caches may keep them for a second."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.cache import get_conditional_response, set_response_etag
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from base import copies
from base.copies.copy import Body
from base.copies.response import CopyResponse

if TYPE_CHECKING:
    AnyView = APIView
else:  # a mixin for DRF's views, each of which has one of DRF's classes
    AnyView = object

CACHEABLE = "public, max-age=1"  # API.md, Conventions


class PublicCatalogue(AnyView):
    """A view whose answers to GET are copies (see `base.copies`): with an `ETag`, and 304 if the client has them."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Once it is known that the client may ask, let the copy answer instead of the view."""
        super().initial(request, *args, **kwargs)
        if request.method == "GET":
            view: Any = self  # DRF's types know no handlers
            view.get = partial(self._copied, view.get)

    def _copied(self, get: Callable[..., Response], request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        def made() -> Body:
            data = get(request, *args, **kwargs).data
            renderer: Any = request.accepted_renderer
            content: bytes = renderer.render(data, request.accepted_media_type, self.get_renderer_context())
            return Body(content=content, content_type=renderer.media_type)

        key = f"{request.build_absolute_uri()} {request.accepted_renderer.format} {translation.get_language()}"
        copy = copies.of("catalogue", key, made, about=kwargs.get("pk"))
        return CopyResponse(request._request, copy, cache_control=CACHEABLE)  # noqa: SLF001 DRF has no other name

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
