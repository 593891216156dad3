"""Copies with all their headers, sent from the event loop: no thread, no middleware, no view (see `base.copies`).

Note [What makes an answer ready]
The first reader of a copy passes the whole of Django: host, redirects, language, policies. `remember` keeps the answer
under everything that it depended on: the path, the query, the host, the scheme, the language. The next reader with the
same gets the same answer as long as the copy is young; then one reader takes the whole way again and brings the new
copy. Django answers every request that carries more than a copy can answer: credentials of the API, notices that wait
for their reader, another origin.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation

from base.bounded import Bounded
from base.copies import is_good, is_young
from base.copies.copy import Copy
from base.copies.response import CopyResponse, knows

Headers = list[tuple[bytes, bytes]]
Key = tuple[str, bytes, bytes, bytes, str]

MOST_READY = 1024
RENEWAL_SECONDS = 1.0  # after which another reader may go for the new copy, if the first one hasn't brought it
ANY_OR_JSON = {b"", b"*/*", b"application/json"}
OF_ONE_ANSWER = {"x-request-id", "content-length", "content-encoding", "content-type", "set-cookie"}
NOT_FOR_ALL = re.compile(rb"(?:^|;\s*)messages=")  # notices that wait for their reader


@dataclass(slots=True)
class Ready:
    """Hold a copy and the headers that every answer with it has (`said`).

    `renewing`: since when a reader is on its way for a new copy, by the monotonic clock.
    """

    copy: Copy
    view: str
    said: Headers
    is_json: bool
    renewing: float = field(default=-RENEWAL_SECONDS)


@dataclass(frozen=True, slots=True)
class Reply:
    view: str
    status: int
    headers: Headers
    body: bytes
    request_id: str  # the client's own, if it sent one


kept: Bounded[Key, Ready] = Bounded(MOST_READY)


def forget() -> None:
    """Drop what is ready."""
    kept.clear()


def remember(request: HttpRequest, response: HttpResponse) -> None:
    """Keep an answer that is a copy for those who ask the same."""
    if (
        not isinstance(response, CopyResponse)
        or response.cookies
        or not settings.COPY_SECONDS
        or request.method != "GET"
    ):
        return
    meta = request.META
    key = (
        request.path,
        meta.get("QUERY_STRING", "").encode("latin-1"),
        meta.get("HTTP_HOST", "").encode("latin-1"),
        meta.get("HTTP_X_FORWARDED_PROTO", "").encode("latin-1"),
        _language(request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME, ""), meta.get("HTTP_ACCEPT_LANGUAGE", "")),
    )
    said = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.items()
        if name.lower() not in OF_ONE_ANSWER
    ]
    view = request.resolver_match.view_name if request.resolver_match else "none"
    is_json = response.shared.content_type.startswith("application/json")
    kept[key] = Ready(copy=response.shared, view=view, said=said, is_json=is_json)


def reply(scope: Mapping[str, Any]) -> Reply | None:
    """Return the answer for this reader; None if the request has to go through Django."""
    if scope["method"] != "GET" or not kept:
        return None
    sent = _sent(scope["headers"])
    if sent is None:
        return None
    cookies = sent.get(b"cookie", b"")
    if NOT_FOR_ALL.search(cookies):
        return None
    language = _language(_language_cookie(cookies), sent.get(b"accept-language", b"").decode("latin-1"))
    key = (scope["path"], scope["query_string"], sent.get(b"host", b""), sent.get(b"x-forwarded-proto", b""), language)
    found = kept.get(key)
    if found is None or (found.is_json and sent.get(b"accept", b"") not in ANY_OR_JSON) or not _is_good(found):
        return None
    return _written(found, sent)


def _sent(headers: Headers) -> dict[bytes, bytes] | None:
    """Return the headers by name; None for what only Django answers, and for a header that comes twice."""
    sent: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in sent or name == b"authorization" or name == b"origin":
            return None
        sent[name] = value
    return sent


def _is_good(found: Ready) -> bool:
    """Tell whether this reader gets the copy; in its second half, one reader goes for a new one."""
    if is_young(found.copy):
        return True
    now = time.monotonic()
    if not is_good(found.copy) or now - found.renewing >= RENEWAL_SECONDS:
        found.renewing = now
        return False
    return True


def _written(found: Ready, sent: dict[bytes, bytes]) -> Reply:
    copy, request_id = found.copy, sent.get(b"x-request-id", b"").decode("latin-1")
    if knows(sent.get(b"if-none-match", b"").decode("latin-1"), copy.etag):
        return Reply(found.view, 304, found.said, b"", request_id)
    is_packed = b"gzip" in sent.get(b"accept-encoding", b"")
    body = copy.packed if is_packed else copy.plain
    headers = [
        *found.said,
        (b"content-type", copy.content_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    if is_packed:
        headers.append((b"content-encoding", b"gzip"))
    return Reply(found.view, 200, headers, body, request_id)


def _language_cookie(cookies: bytes) -> str:
    name = settings.LANGUAGE_COOKIE_NAME.encode() + b"="
    for cookie in cookies.split(b";"):
        if cookie.strip().startswith(name):
            return cookie.strip()[len(name) :].decode("latin-1")
    return ""


@lru_cache(maxsize=4096)  # clients choose the texts
def _language(cookie: str, accepts: str) -> str:
    """Return the language that Django would choose."""
    request = HttpRequest()
    request.COOKIES[settings.LANGUAGE_COOKIE_NAME] = cookie
    request.META["HTTP_ACCEPT_LANGUAGE"] = accepts
    return translation.get_language_from_request(request)
