"""Run Debian's Caddy with the deployed Caddyfile, in front of processes of this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.processes import free_port, listens, until

CADDYFILE = Path(__file__).parents[1] / "deploy" / "proxy" / "Caddyfile"


class Caddy:
    """Run Caddy: `with Caddy(folder, web=8000, live=8001) as proxy:`.

    `proxy.port` is the site's one origin, in plain HTTP.
    """

    def __init__(self, folder: Path, *, web: int, live: int) -> None:
        self.port = free_port()
        self._log = folder / "caddy.log"
        self._file = folder / "Caddyfile"
        deployed = CADDYFILE.read_text()
        self._file.write_text(deployed.replace("admin off", "admin off\n\tdefault_bind 127.0.0.1", 1))
        self._environment = os.environ | {
            "SITE_ADDRESS": f":{self.port}",
            "WEB_HOST": "127.0.0.1",
            "WEB_PORT": str(web),
            "LIVE_HOST": "127.0.0.1",
            "LIVE_PORT": str(live),
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
        }

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["caddy", "run", "--config", self._file, "--adapter", "caddyfile"],  # noqa: S607
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(lambda: self._process.poll() is not None or listens(self.port), what="Caddy")
        assert self._process.poll() is None, self._log.read_text()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
