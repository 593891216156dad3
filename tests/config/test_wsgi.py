"""Check that what a server passes on arrives whole."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.conf import settings
from django.core.signals import request_finished
from django.test import RequestFactory

from config.wsgi import application
from tests.api import PROBLEM


def post(body: bytes, **environ: Any) -> tuple[str, str, Any]:
    """Post to the API without a length, and return status, type and body of the answer."""
    told: list[Any] = []
    request = RequestFactory().post("/api/v1/auth/token", content_type="application/json")
    sent = {**request.environ, "wsgi.input": io.BytesIO(body), "HTTP_TRANSFER_ENCODING": "chunked", **environ}
    said = b"".join(application(sent, lambda status, headers, *_more: told.extend((status, dict(headers)))))
    return told[0][:3], told[1]["Content-Type"], json.loads(said)


class TestBodyInChunks:
    @pytest.mark.parametrize("length", ["", "0", "3"])
    def test_body_in_chunks_is_read_whatever_length_is_claimed(self, length: str) -> None:
        status, kind, answer = post(b'{"username": "ana"}', CONTENT_LENGTH=length)
        assert (status, kind) == ("400", PROBLEM)
        assert [error["field"] for error in answer["errors"]] == ["password"]

    @pytest.mark.parametrize("size", [settings.API_LARGEST_BODY, settings.DATA_UPLOAD_MAX_MEMORY_SIZE * 2])
    def test_body_in_chunks_is_refused_when_it_is_too_large(self, size: int) -> None:
        status, kind, answer = post(b'{"username": "' + b"a" * size)
        assert (status, kind, answer["code"]) == ("413", PROBLEM, "too_large")


class TestAnswer:
    def test_answer_that_is_whole_goes_out_whole(self) -> None:
        closed: list[str] = []
        request_finished.connect(receiver := lambda **_signal: closed.append("finished"), weak=False)
        try:
            said = application(RequestFactory().get("/health/live").environ, lambda *_told: None)
        finally:
            request_finished.disconnect(receiver)
        assert isinstance(said, list)
        assert len(said) == 1
        assert closed == ["finished"]

    def test_answer_that_is_a_file_is_streamed(self) -> None:
        said = application(RequestFactory().get("/static/sessions_app/site.css").environ, lambda *_told: None)
        assert not isinstance(said, list)
        assert b"".join(said)
        said.close()
