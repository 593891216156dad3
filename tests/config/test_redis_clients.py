"""List each client of Redis besides Django's caches and the channel layer, with its reason."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
FOLDERS = ["config", "ticketing", "reservations", "sessions_app", "realtime", "base", "deploy", "bench"]
LIBRARIES = {"redis", "django_redis", "channels_redis"}

CLIENTS = {
    # Connections of Django's caches, for what needs a script in one trip.
    "config/web/cache.py client": "the cache's own connection, kept because getting it anew costs 15 µs",
    "reservations/claims/claims.py client": "the claims' own connection, kept for the same reason",
    "base/copies/changes.py tell": "base imports nothing of config, and asks once a commit, not once a request",
    # Separate connections.
    "realtime/wire.py _Wire._client": (
        "the channel layer's Redis need be none of the caches, and its thread has a deadline"
    ),
    "reservations/queueing/replies.py ReplyDesk._listen": (
        "a subscription needs a connection of its own, and longer deadlines"
    ),
    "base/copies/changes.py _listen": "a subscription needs a connection of its own, and longer deadlines",
    "reservations/checks.py client": "what ails the pool that requests share isn't Redis being away",
    "config/run/preflight.py require_redis": "asks before Django is set up, at an address that may be wrong",
    "config/run/embedded.py Valkey.ready": "asks the Redis that it starts, before the settings can name it",
    # Measurements from outside, and cleaning where no process of Frontrow runs any more.
    "bench/watchers.py Crowd.publish": "sends what the wire would, as fast as the sockets take it",
    "bench/cpu.py Meter._redis": "reads the server's own figures",
    "bench/memory.py taken": "reads the server's own figures",
    "bench/services.py redis_version": "reads the server's own figures",
    "bench/services.py keys_forgotten": "deletes the keys of a run that is over",
}


def test_each_client_of_redis_has_its_reason() -> None:
    found = {
        f"{file.relative_to(ROOT)} {place}"
        for file in [ROOT / "manage.py", *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))]
        for place in clients_in(file.read_text())
    }
    assert found == CLIENTS.keys()


def test_client_is_seen_however_it_is_made() -> None:
    seen = list(
        clients_in("""
import redis, redis.asyncio
import redis.asyncio as aioredis
from django_redis import get_redis_connection
from redis import Redis as Store, RedisError, sentinel
KEPT = Store()
def by_url(kept: redis.Redis | None) -> Store: return redis.from_url("redis://")
def waiting(): return aioredis.Redis.from_url("redis://")
class Desk:
    def later(self): return functools.partial(redis.asyncio.Redis, port=1)
    def pool(self): return [redis.ConnectionPool(), sentinel.Sentinel([])]
def through_django(): return get_redis_connection("default")
def here():
    from redis.cluster import RedisCluster
    return RedisCluster()
def harmless(error: RedisError) -> None: raise redis.exceptions.ConnectionError from error
""")
    )
    assert seen == ["", "by_url", "waiting", "Desk.later", "Desk.pool", "Desk.pool", "through_django", "here"]


def clients_in(source: str) -> Iterator[str]:
    """Yield the function, with its class, of each use of a Redis connection. Types and errors do not count."""
    tree = ast.parse(source)
    yield from _mentions(tree, names=dict(_imported(tree)), place="")


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each name that stands for a part of the libraries, and the part."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            paths = [
                (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2 for alias in node.names
            ]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            paths = [(alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names]
        else:
            continue
        yield from ((name, path) for name, path in paths if path.split(".")[0] in LIBRARIES)


def _mentions(node: ast.AST, *, names: dict[str, str], place: str) -> Iterator[str]:
    first, *more = ast.unparse(node).split(".") if isinstance(node, ast.Attribute | ast.Name) else [""]
    if first in names:
        if _connects(".".join([names[first], *more])):
            yield place
        return
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        place = f"{place}.{node.name}".removeprefix(".")
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and name not in {"annotation", "returns"}:
                yield from _mentions(child, names=names, place=place)


def _connects(path: str) -> bool:
    found = pkgutil.resolve_name(path)
    return not isinstance(found, ModuleType) and not (isinstance(found, type) and issubclass(found, Exception))
