"""Check that only `reservations/allocation/` locks seats, stock and reservations, so that one lock order holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
APPS = ["config", "ticketing", "reservations", "sessions_app", "realtime", "base"]
ALLOCATED = r"\b(Session|Seat|TicketType|Pool|Reservation|Voucher)\.objects|\b(sessions_app|reservations)_[a-z]+"
ALLOCATION = "reservations/allocation/"
LOCKS = "reservations/allocation/locks.py"
STATEMENTS = "reservations/allocation/statements.py"


def modules() -> Iterator[tuple[str, ast.Module]]:
    for app in APPS:
        for file in sorted((ROOT / app).rglob("*.py")):
            if "migrations" not in file.parts:
                yield str(file.relative_to(ROOT)), ast.parse(file.read_text())


def locked_in(tree: ast.Module) -> Iterator[str]:
    """Yield each statement that locks rows, as it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            written = ast.unparse(node)
            if "select_for_update" in written or re.search(r"FOR (NO KEY )?UPDATE", written):
                yield written


def test_what_is_allocated_is_locked_by_allocation() -> None:
    found = {
        (module, match[0])
        for module, tree in modules()
        if not module.startswith(ALLOCATION)
        for written in locked_in(tree)
        if (match := re.search(ALLOCATED, written))
    }
    assert found == {("sessions_app/operations.py", "Session.objects")}  # in cancel_session, which is below this app


def test_allocation_and_its_statements_are_seen_to_lock() -> None:
    seen = {module for module, tree in modules() if any(locked_in(tree))}
    assert {LOCKS, STATEMENTS} <= seen


def test_the_statements_that_lock_are_called_by_allocation_alone() -> None:
    lockers = {
        node.name
        for module, tree in modules()
        if module == STATEMENTS
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("lock_")
    }
    assert len(lockers) == 4
    callers = {
        module
        for module, tree in modules()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in lockers and ast.unparse(node.value) == "statements")
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "reservations.allocation.statements"
            and lockers & {alias.name for alias in node.names}
        )
    }
    assert callers
    assert all(module.startswith(ALLOCATION) for module in callers)
