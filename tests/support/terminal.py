"""Simulate a person at a terminal who answers a command's questions."""

from __future__ import annotations

import io

import pytest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def answer(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    """Provide a terminal on which these answers are typed before it hangs up."""
    monkeypatch.setattr("sys.stdin", Terminal("".join(f"{said}\n" for said in answers)))
