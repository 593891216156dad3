"""Run Debian's nginx with the shipped configuration, in front of servers of this machine."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.processes import free_port, listens, until

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "proxy" / "nginx.conf"
AROUND = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/frontrow.conf;
}}
"""


class Nginx:
    """Run nginx: `with Nginx(folder, web=8000, live=8001) as proxy:`.

    `proxy.port` is the site's one origin, in plain HTTP; `access_log` is its log. `connections` replaces the shipped
    limit per address.
    """

    def __init__(self, folder: Path, *, web: int, live: int, connections: int = 0) -> None:
        self.port = free_port()
        self._folder = folder
        self.access_log = folder / "frontrow.log"
        shipped = CONFIGURATION.read_text()
        for said, instead in {
            "listen 80;": f"listen 127.0.0.1:{self.port};",
            "listen [::]:80;": "",
            "/var/log/nginx/frontrow.log": str(self.access_log),
            "server 127.0.0.1:8000": f"server 127.0.0.1:{web}",
            "server 127.0.0.1:8001": f"server 127.0.0.1:{live}",
            "limit_conn frontrow_addresses 1000;": f"limit_conn frontrow_addresses {connections or 1000};",
        }.items():
            assert shipped.count(said) == 1, said
            shipped = shipped.replace(said, instead)
        (folder / "frontrow.conf").write_text(shipped)
        user = f"user {getpass.getuser()};" if os.getuid() == 0 else ""  # its folder belongs to this user alone
        (folder / "nginx.conf").write_text(AROUND.format(user=user, folder=folder))

    def __enter__(self) -> Self:
        log = self._folder / "nginx.log"
        self._process = subprocess.Popen(
            ["nginx", "-e", log, "-p", self._folder, "-c", self._folder / "nginx.conf"],  # noqa: S607
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"},
        )
        until(lambda: self._process.poll() is not None or listens(self.port), what="nginx")
        assert self._process.poll() is None, log.read_text()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
