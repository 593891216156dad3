"""Fill forms in wrongly, one field at a time and all at once, and judge the site's answers."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator

from django.apps import apps
from django.test import Client

from tests.support.pages import Form, body_of, forms_in

ON_EVERY_PAGE = re.compile(r"^/(i18n/|admin/logout|sign-out)")
MACHINERY = re.compile(r"^csrfmiddlewaretoken$|^action$|__prefix__|-MIN_NUM_FORMS$|-MAX_NUM_FORMS$")
FIRST_ROWS = re.compile(r"-[1-9]\d*-")  # the other rows of a table have the same fields as its first
LISTS = {"_selected_action", "select_across", "index"}
NAMES_OF_CONSTRAINTS = re.compile(
    "|".join(constraint.name for model in apps.get_models() for constraint in model._meta.constraints)
)
LONG, NUL, UNKNOWN = "9" * 400, "a\0b", "00000000-0000-7000-8000-000000000000"
OUT_OF_REACH = ["0001-01-01", "9999-12-31"]
ALIKE = ("", NUL, LONG, "-1", UNKNOWN)
OF_A_KIND = {"number": ["", "-1", "2147483648"], "select": [UNKNOWN], "date": OUT_OF_REACH, "checkbox": []}


def forms_on(client: Client, page: str) -> list[Form]:
    answer = client.get(page)
    assert answer.status_code < 500, page
    if answer.status_code != 200:
        return []
    return [form for form in forms_in(body_of(answer), page) if not ON_EVERY_PAGE.match(form.action)]


class Tries:
    """Try wrong ways to fill in forms.

    Fields of one kind take turns with general errors; each has errors of its own.
    """

    def __init__(self) -> None:
        self._turns = defaultdict[str, Iterator[str]](lambda: itertools.cycle(ALIKE))

    def of(self, form: Form) -> Iterator[tuple[str, dict[str, list[str]]]]:
        """Name what is wrong, and fill the form in with it: one field at a time, and then all of them."""
        fields = [name for name in form.kinds if not MACHINERY.search(name) and not FIRST_ROWS.search(name)]
        for name in fields:
            for wrong in self._values(name, form.kinds[name]) if name not in LISTS else ():
                yield f"{name}={wrong}", form.filled_in(**{name: wrong})
        for action in filter(None, form.choices.get("action", [])):
            for wrong in (NUL, UNKNOWN) if "_selected_action" in fields else ():
                yield f"{action} of {wrong}", form.filled_in(action=action, _selected_action=wrong)
        kept = {name for name in fields if name.endswith("_FORMS") or name == "_selected_action"}
        for wrong in ("", NUL) if set(fields) - kept - LISTS else ():
            yield f"all={wrong}", form.filled_in(**dict.fromkeys(set(fields) - kept, wrong))

    def _values(self, name: str, kind: str) -> list[str]:
        if name.endswith("_FORMS"):
            return ["", NUL]
        if name.endswith("_0"):
            kind = "date"
        own = OF_A_KIND.get(kind, [""])
        return [*own, next(wrong for wrong in self._turns[kind] if wrong not in own)]


def complaint(client: Client, action: str, values: dict[str, list[str]]) -> str | None:
    """Return what is wrong with the site's answer: an error, a constraint's name, or a broken page afterwards."""
    answer = client.post(action, values)
    if answer.status_code == 302 and any(values[name][0] in OUT_OF_REACH for name in values if name.endswith("_0")):
        answer = client.get(answer["Location"])
    if answer.status_code >= 500:
        return f"{answer.status_code} {getattr(answer, 'exc_info', '')}"
    named = NAMES_OF_CONSTRAINTS.findall(body_of(answer)) if answer.status_code == 200 else None
    return f"shows {named}" if named else None
