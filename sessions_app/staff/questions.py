"""Ask staff before an action that can't be undone: what it changes, and who is notified.

A question has a stamp of its subject, which the answer carries. If the subject has changed by then, the question is
asked again.
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
    """A question to staff: `facts` say what the action changes; `about` is its exact subject, for the stamp."""

    title: str
    facts: Sequence[tuple[str, str]]
    warning: str
    button: str = ""  # of a page
    about: Collection[object]

    @property
    def stamp(self) -> str:
        return stamp_of(self.about)


class Unanswered(Exception):
    """The action was rolled back, because a person must confirm it first: only its transaction knew the facts."""

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
