"""The Lua scripts take their keys and arguments under the names that Python gives them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reservations import hold_caps
from reservations.claims import arguments, claims

SCRIPTS = Path(claims.__file__).parent
OWN = [
    ("admit", "KEYS", arguments.AdmitKeys._fields),
    ("admit", "ARGV", arguments.AdmitArguments._fields),
    ("renumber", "KEYS", arguments.RenumberKeys._fields),
    ("renumber", "ARGV", arguments.RenumberArguments._fields),
    ("follow", "KEYS", arguments.FollowKeys._fields),
    ("upkeep", "r", arguments.Owned.__struct_fields__),
    ("upkeep", "left", arguments.Left.__struct_fields__),
    ("upkeep", "cjson.decode(rules)", hold_caps.WaitingRules.__struct_fields__),
]


def lua(script: str) -> str:
    return (SCRIPTS / f"{script}.lua").read_text()


@pytest.mark.parametrize(("script", "taken", "fields"), OWN, ids=lambda said: said if isinstance(said, str) else "")
def test_the_script_takes_the_fields_in_their_order(script: str, taken: str, fields: tuple[str, ...]) -> None:
    found = re.search(rf"^ *local ([\w,\s]+) = unpack\({re.escape(taken)}(?:, 1, (\d+))?\)", lua(script), re.MULTILINE)
    assert found is not None
    assert tuple(re.split(r",\s*", found[1])) == fields
    assert found[2] is None or int(found[2]) == len(fields)


@pytest.mark.parametrize("script", sorted(file.stem for file in SCRIPTS.glob("*.lua")))
def test_no_script_takes_an_argument_by_a_number(script: str) -> None:
    assert re.findall(r"(?:KEYS|ARGV)\[\d", lua(script)) == []


def test_lists_begin_behind_the_named_fields_of_admit() -> None:
    first = (len(arguments.AdmitKeys._fields) + 1, len(arguments.AdmitArguments._fields) + 1)
    assert f"local first_limit, first_most = {first[0]}, {first[1]}\n" in lua("admit")
