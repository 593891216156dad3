"""Check what every REST view shares."""

from __future__ import annotations

import pytest
from django.test import RequestFactory
from rest_framework import serializers
from rest_framework.request import Request

from base.rest import Id, Text, WholeNumber, YesNo, prefer_wait


class TestPreferWait:
    @pytest.mark.parametrize(
        ("sent", "seconds"),
        [
            ("", 0),
            ("wait=5", 5),
            ("Wait = 5", 5),
            ('wait="5"', 5),
            ("respond-async, wait=10", 10),
            ("wait=3, handling=lenient", 3),
            ("wait=3; x=y", 3),
            ("wait=600", 10),
            ("wait=-5", 0),
            ("wait=five", 0),
            ("await=5", 0),
            ("wait=5s", 0),
        ],
    )
    def test_prefer_wait_reads_the_seconds_and_ignores_nonsense(self, sent: str, seconds: float) -> None:
        assert prefer_wait(Request(RequestFactory().get("/", headers={"prefer": sent}))) == seconds


class TestFields:
    @pytest.mark.parametrize(
        ("field", "value", "taken"),
        [
            (Text(), "A1", "A1"),
            (WholeNumber(), 2, 2),
            (WholeNumber(), 2.0, 2),
            (YesNo(), False, False),
        ],
        ids=repr,
    )
    def test_fields_take_what_they_are_for(
        self, field: serializers.Field[object, object, object, object], value: object, taken: object
    ) -> None:
        assert field.run_validation(value) == taken

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            (Text(), 7),
            (Text(), True),
            (Text(), ""),
            (Text(), ["A1"]),
            (WholeNumber(), "2"),
            (WholeNumber(), 1.5),
            (WholeNumber(), True),
            (WholeNumber(), float("inf")),
            (YesNo(), "true"),
            (YesNo(), 1),
            (YesNo(), []),
            (Id(), 7),
            (Id(), "{019337a5-2c1e-7b1f-9a44-2f1c0d9e8b11}"),
            (Id(), "019337a52c1e7b1f9a442f1c0d9e8b11"),
        ],
        ids=repr,
    )
    def test_fields_take_nothing_else(
        self, field: serializers.Field[object, object, object, object], value: object
    ) -> None:
        with pytest.raises(serializers.ValidationError):
            field.run_validation(value)
