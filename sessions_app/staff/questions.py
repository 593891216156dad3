"""What staff is asked before something is done that can't be taken back: what it comes to, and who is told.

A question has a stamp of what it was about. The answer carries the stamp; where by then it comes to something else, it is asked again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse

ANSWER = "confirmed"
NOT_SENT_AGAIN = {"csrfmiddlewaretoken", ANSWER}


@dataclass(frozen=True, kw_only=True)
class Question:
    """`facts`: what it comes to, as people read it. `about`: what exactly, for the stamp."""

    title: str
    facts: Sequence[tuple[str, str]]
    warning: str
    button: str = ""  # of a page
    about: Collection[object]

    @property
    def stamp(self) -> str:
        return stamp_of(self.about)


class Unanswered(Exception):
    """What was begun is undone: somebody has to be asked before it. Only its transaction knew what it comes to."""

    def __init__(self, question: Question) -> None:
        super().__init__(question.title)
        self.question = question


def stamp_of(about: Collection[object]) -> str:
    return hashlib.sha256(repr([str(thing) for thing in about]).encode()).hexdigest()[:32]


def is_confirmed(request: HttpRequest, question: Question) -> bool:
    return request.POST.get(ANSWER) == question.stamp


def ask(request: HttpRequest, question: Question, *, back: str, **framed: Any) -> TemplateResponse:
    """Show the question; its button sends the same form once more, with the stamp. `framed`: for the admin's frame."""
    sent = [(name, value) for name, values in request.POST.lists() for value in values if name not in NOT_SENT_AGAIN]
    context = {
        **admin.site.each_context(request),
        "title": question.title,
        **framed,
        "question": question,
        "has_changed": ANSWER in request.POST,
        "sent": sent,
        "back": back,
    }
    return TemplateResponse(request, "sessions_app/desk/question.html", context)
