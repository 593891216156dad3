"""Report what is done as done, whatever fails afterwards.

Note [The answer stands]
As soon as something is stored for a buyer (a request, a payment, a refund), an answer that says "failed" is wrong and
makes people buy twice. So the code that stores it sets at once the answer that will be given at least (`stand`).
Reading what is to be shown, storing the answer for its key, saving the browser's session and every middleware come
later and may fail. If one does, the outermost middleware gives the answer that stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse

KEY = "frontrow.standing"

Answer = Callable[[], HttpResponse]

log = structlog.get_logger(__name__)


def stand(request: Any, answer: Answer, *, instead_of: int = 500) -> None:
    """Give `answer` instead of a response with status `instead_of` or higher. `request` is Django's or DRF's."""
    request.META[KEY] = answer, instead_of


def kept(request: HttpRequest, get_response: Callable[[HttpRequest], HttpResponse]) -> HttpResponse:
    """Return the response, or the answer that stands in its place. See Note [The answer stands]."""
    try:
        response = get_response(request)
    except Exception:
        if KEY not in request.META:
            raise
        log.exception("answer.stands")
        return _standing(request)
    if KEY in request.META and response.status_code >= request.META[KEY][1]:
        log.error("answer.stands", instead_of=response.status_code)
        return _standing(request)
    return response


def _standing(request: HttpRequest) -> HttpResponse:
    answer: Answer = request.META[KEY][0]
    response = answer()
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response
