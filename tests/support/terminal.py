"""Somebody at a terminal who answers what a command asks."""

from __future__ import annotations

import io

import pytest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def answer(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    """Sit down at a terminal, and type these; then hang up."""
    monkeypatch.setattr("sys.stdin", Terminal("".join(f"{said}\n" for said in answers)))
