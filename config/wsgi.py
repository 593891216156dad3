"""Define the site for WSGI servers."""

import io
import os
from typing import Any
from wsgiref.types import WSGIEnvironment

import structlog
from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django = get_wsgi_application()

from base.postgresql import patience  # noqa: E402 what follows needs Django set up
from config.web import short_way  # noqa: E402

patience.wait_at_most(settings.DB_ANSWER_SECONDS)

log = structlog.get_logger(__name__)


def application(environ: WSGIEnvironment, start_response: Any) -> Any:
    """Serve Django, with a short way for the most frequent requests and two corrections for servers.

    Django reads as many bytes as Content-Length says, so a body in chunks is given a length. A body above every limit
    is cut one byte above it, which is enough to refuse it.

    A whole answer is passed on as a list, which granian sends as it is. Anything else is streamed piece by piece.
    """
    if "HTTP_TRANSFER_ENCODING" in environ:
        body = environ["wsgi.input"].read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        environ = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    short = short_way.answer(environ)
    if short is not None:
        start_response(f"{short.status_code} {short.reason_phrase}", list(short.items()))
        return [short.content]
    response: Any = django(environ, start_response)
    if getattr(response, "streaming", True):
        return response
    body = [response.content]
    try:
        response.close()
    except Exception:  # an error after the request spoils no answer
        log.exception("response.not_closed")
    return body
