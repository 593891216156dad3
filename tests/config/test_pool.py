from __future__ import annotations

import time

import psycopg
import psycopg_pool
from django.conf import settings

from tests import services
from tests.processes import until
from tests.proxy import Proxy


def reached(pool: psycopg_pool.ConnectionPool) -> bool:
    try:
        with pool.connection(timeout=0.1) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_the_pool_is_filled_again_soon_after_an_outage_of_any_length() -> None:
    """Check a long outage: by itself the pool would try after 1, 3 and 7 seconds, so up to half as long again."""
    options = settings.DATABASES["default"]["OPTIONS"]["pool"]
    with (
        Proxy(services.current().database_url) as wire,
        psycopg_pool.ConnectionPool(wire.url, open=True, **options) as pool,
    ):
        until(lambda: reached(pool), what="the first connection")
        wire.down()
        began = time.monotonic()
        until(lambda: not reached(pool) and time.monotonic() > began + 3.5, what="an outage")
        wire.up()
        until(lambda: reached(pool), seconds=2.5, what="another connection")
