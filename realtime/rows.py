"""Statements over many rows, given to psycopg directly, with parameters bound by the server.

Django's own cursor writes every value into the text of the query, and psycopg writes arrays element by element in Python; rows
here travel as one JSON document, which PostgreSQL takes apart (`jsonb_to_recordset`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection


def execute(statement: str, *parameters: Any) -> psycopg.Cursor[Any]:
    """In Django's transaction, if there is one. Raises: Django's database errors."""
    connection.ensure_connection()
    cursor: psycopg.Cursor[Any] = psycopg.Cursor(connection.connection)
    with connection.wrap_database_errors:
        cursor.execute(statement, parameters)
    return cursor


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """For `jsonb_to_recordset(%s)`: UUIDs and times as text."""
    return json.dumps(rows, default=str, separators=(",", ":"))


def as_array(ids: Iterable[UUID]) -> str:
    """For `= ANY(%s::uuid[])`."""
    return "{" + ",".join(map(str, ids)) + "}"
