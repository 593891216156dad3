"""Simulate a person's browser without a screen: sign in, follow links, read and fill in forms."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urldefrag, urljoin, urlsplit

from django.test import Client
from django.urls import reverse

from tests.support import house

LINK = re.compile(r"""(?:\s(?:href|src|action)=["']|content=["']0; url=)([^"'#][^"']*)["']""")
ALIKE = 2  # pages of one kind that are opened; one of those that a list's filter makes
IDENTITY = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b\d+\b")
NOT_FOLLOWED = re.compile(r"^/(sign-out|admin/logout)")


def window_of(name: str | None, language: str = "en") -> Client:
    """Open a browser in which the person is signed in. A server error is an answer there, not an exception."""
    client = Client(raise_request_exception=False, headers={"accept-language": language})
    if name:
        answer = client.post(reverse("sign-in"), {"username": name, "password": house.PASSWORD})
        assert answer.status_code == 302, answer
    return client


def walk(client: Client, starts: Sequence[str], *, unfollowed: str | None = None) -> Iterator[tuple[str, Any]]:
    """Open the pages and follow their links, few of a kind, and a list's filters one at a time, not together.

    `unfollowed` is a pattern of addresses that another walk follows.
    """
    seen, typed = set(starts), set(starts)
    kinds = Counter[str]()
    waiting = deque(starts)
    while waiting:
        address = waiting.popleft()
        kinds[kind_of(address)] += 1
        if kinds[kind_of(address)] > (1 if "?" in address else ALIKE) and address not in typed:
            continue
        answer = client.get(address)
        yield address, answer
        if answer.status_code == 200 and answer["Content-Type"].startswith("text/html"):
            found = {urldefrag(urljoin(address, unescape(link)))[0] for link in LINK.findall(body_of(answer))}
            new = {link for link in found if is_followed(link, address)} - seen
            seen |= new
            waiting.extend(sorted(link for link in new if not (unfollowed and re.match(unfollowed, link))))
        elif answer.streaming:
            answer.getvalue()  # read to its end, so that its file is closed


def kind_of(address: str) -> str:
    """Return the address without its ids, and with only the names of its query."""
    parts = urlsplit(address)
    return f"{IDENTITY.sub('*', parts.path)}?{sorted(parse_qs(parts.query))}"


def body_of(answer: Any) -> str:
    content: bytes = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return content.decode()


def is_followed(link: str, address: str) -> bool:
    there, here = urlsplit(link), urlsplit(address)
    if there.scheme not in {"", "http"} or there.netloc or NOT_FOLLOWED.match(there.path):
        return False
    return not (there.query and here.query)


@dataclass
class Form:
    """Hold a form that posts.

    `values` is what it would send unchanged; `kinds` are field types; `choices` are its selects'.
    """

    action: str
    values: dict[str, list[str]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)

    def put(self, name: str, kind: str, values: list[str]) -> None:
        self.kinds[name] = kind
        self.values.setdefault(name, []).extend(values)

    def filled_in(self, **changed: str | list[str]) -> dict[str, list[str]]:
        return self.values | {name: [value] if isinstance(value, str) else value for name, value in changed.items()}


def forms_in(page: str, address: str) -> list[Form]:
    reader = _FormReader(address)
    reader.feed(page)
    return reader.forms


def confirmed(client: Client, address: str, sent: Mapping[str, Any]) -> Any:
    """Send a form, press the button of its question, and return the answer."""
    asked = client.post(address, sent)
    assert asked.status_code == 200, asked
    [question] = [form for form in forms_in(body_of(asked), address) if "confirmed" in form.values]
    return client.post(question.action, question.values)


class _FormReader(HTMLParser):
    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._select: tuple[str, list[str]] | None = None
        self._text: tuple[str, list[str]] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(urljoin(self.address, has.get("action", "")))
            if has.get("method", "").lower() == "post":
                self.forms.append(self._form)
        elif self._form and has.get("name") and "disabled" not in has:
            self._take(self._form, tag, has)
        elif tag == "option" and self._select and self._form:
            name, chosen = self._select
            self._form.choices[name].append(has.get("value", ""))
            if "selected" in has:
                chosen.append(has.get("value", ""))

    def _take(self, form: Form, tag: str, has: dict[str, str]) -> None:
        kind = has.get("type", "text").lower() if tag == "input" else tag
        if tag == "select":
            self._select = has["name"], []
            form.choices[has["name"]] = []
        elif tag == "textarea":
            self._text = has["name"], []
        elif tag == "button" or kind in {"submit", "button", "file", "image"}:
            return
        elif kind in {"checkbox", "radio"}:
            form.put(has["name"], kind, [has.get("value", "on")] if "checked" in has else [])
        else:
            form.put(has["name"], kind, [has.get("value", "")])

    def handle_data(self, data: str) -> None:
        if self._text:
            self._text[1].append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "select" and self._select and self._form:
            name, chosen = self._select
            self._form.put(name, "select", chosen or self._form.choices[name][:1])
            self._select = None
        elif tag == "textarea" and self._text and self._form:
            name, parts = self._text
            self._form.put(name, "textarea", ["".join(parts).removeprefix("\n")])
            self._text = None
        elif tag == "form":
            self._form = None
