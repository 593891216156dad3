"""Exit 0 if the process of this container answers HTTP on $PORT; what Docker asks every few seconds.

Liveness only: a lost database must not make Docker restart web processes that still accept requests.
"""
# ruff: noqa: INP001 a script beside the Dockerfile, not a package

import http.client
import os
import sys


def is_alive(*, port: int, timeout: float) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_alive(port=int(os.environ.get("PORT", "8000")), timeout=2.0) else 1)
