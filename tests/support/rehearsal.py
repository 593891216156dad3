"""Try a request: judge it as at the commit, and roll it back, so that a hundred others start from the same house."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction


@contextmanager
def rehearsed() -> Iterator[None]:
    """Roll the block back. Raises: IntegrityError, if the commit would have."""
    outer: Any = transaction.atomic()
    outer._from_testcase = True  # noqa: SLF001 what is a transaction of its own runs inside it
    with outer:
        yield
        connection.check_constraints()
        transaction.set_rollback(True)
