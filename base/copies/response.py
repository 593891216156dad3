"""Send a copy as Django does."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from base.copies.copy import Copy


class CopyResponse(HttpResponse):
    """Answer with a copy. Middleware may add headers; `config.web.ready` then keeps the whole for the next reader."""

    def __init__(self, request: HttpRequest, copy: Copy, *, cache_control: str) -> None:
        is_packed = "gzip" in request.headers.get("Accept-Encoding", "")
        is_known = knows(request.headers.get("If-None-Match", ""), copy.etag)
        body = b"" if is_known else copy.packed if is_packed else copy.plain
        super().__init__(body, content_type=copy.content_type, status=304 if is_known else 200)
        self.shared = copy
        self.headers["ETag"] = copy.etag
        self.headers["Cache-Control"] = cache_control
        patch_vary_headers(self, ["Accept-Encoding"])
        if is_known:
            del self.headers["Content-Type"]
        elif is_packed:
            self.headers["Content-Encoding"] = "gzip"
        if copy.policy:
            self._csp_update = copy.policy  # django-csp reads it


def knows(if_none_match: str, etag: str) -> bool:
    """Tell whether the client has the answer with this tag already (RFC 9110, 13.1.2: weak comparison)."""
    if not if_none_match:
        return False
    bare = etag.removeprefix("W/")
    return if_none_match.strip() == "*" or any(
        tag.strip().removeprefix("W/") == bare for tag in if_none_match.split(",")
    )
