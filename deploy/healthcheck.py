"""Exit 0 if the process of this container answers HTTP on $PORT; what Docker asks every few seconds.

Liveness only: a lost database must not make Docker restart web processes that still accept requests. With --pulse: exit
0 if the worker, beat or relay of this container does its work, as it writes into $PULSE_FILE.
"""
# ruff: noqa: INP001 a script beside the Dockerfile, not a package

import http.client
import os
import sys
import time
from pathlib import Path


def is_alive(*, port: int, timeout: float) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def is_at_work(pulse: Path, *, within: float) -> bool:
    try:
        return time.time() - pulse.stat().st_mtime < within and pulse.read_text() == "at work"
    except OSError:
        return False


if __name__ == "__main__":
    if sys.argv[1:] == ["--pulse"]:
        sys.exit(0 if is_at_work(Path(os.environ["PULSE_FILE"]), within=5.0) else 1)
    sys.exit(0 if is_alive(port=int(os.environ.get("PORT", "8000")), timeout=2.0) else 1)
