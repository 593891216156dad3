"""Run statements over many rows in psycopg directly, with parameters bound by the server.

Django's own cursor writes every value into the text of the query, and psycopg writes arrays element by element in
Python. Here rows travel as one JSON document, which PostgreSQL takes apart (`jsonb_to_recordset`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import psycopg
from django.db import connection
from django.db.models import Model
from django.db.models.base import ModelState

Row = TypeVar("Row", bound=Model)


def execute(statement: str, *parameters: Any, **named: Any) -> psycopg.Cursor[Any]:
    """Execute a statement with `%s` or `%(name)s` in Django's transaction, if any. Raises: Django's database errors."""
    connection.ensure_connection()
    cursor: psycopg.Cursor[Any] = psycopg.Cursor(connection.connection)
    with connection.wrap_database_errors:
        cursor.execute(statement, named or parameters)
    return cursor


def as_json(rows: Sequence[Mapping[str, object]]) -> str:
    """Encode rows for `jsonb_to_recordset(%s)`, with UUIDs and times as text."""
    return msgspec.json.encode(rows).decode()


def as_array(ids: Iterable[UUID]) -> str:
    """Encode ids for `= ANY(%s::uuid[])`."""
    return "{" + ",".join(map(str, ids)) + "}"


def columns(model: type[Model]) -> str:
    """Return all of a model's columns for a SELECT, in the order that `rows_of` expects."""
    return ", ".join(str(field.column) for field in model._meta.concrete_fields)


def rows_of(model: type[Row], rows: Iterable[Sequence[Any]]) -> list[Row]:
    """Return the models of rows that a SELECT of `columns(model)` found."""
    names = [field.attname for field in model._meta.concrete_fields]
    return [model.from_db(connection.alias, names, row) for row in rows]


def some_columns(model: type[Row], values: Mapping[str, object]) -> Row:
    """Make a model from some columns of a stored row. Other columns are read on first use."""
    row = model.__new__(model)
    row.__dict__ = {**values, "_state": _found()}
    return row


def _found() -> ModelState:
    state = ModelState()
    state.adding, state.db = False, connection.alias
    return state


@cache
def _defaults(model: type[Model]) -> dict[str, object]:
    return {field.attname: field.get_default() for field in model._meta.concrete_fields}


def new_row(model: type[Row], **values: Any) -> Row:
    """Make a model as `model(**values)` does, by column, in a tenth of the time.

    It is built as `pickle` builds one. Give each field whose default can change (a list) a value.
    """
    row = model.__new__(model)
    row.__dict__ = {**_defaults(model), **values, "_state": ModelState()}
    return row
