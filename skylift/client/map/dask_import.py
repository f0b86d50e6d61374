"""Dask's environment on the coordinator's server, which the server's own process makes when it is asked to.

The coordinator begins with the server's own Python, so that the first inputs wait for nothing. The environment is of
the same Python (server/tool_environment.py): what is in it can be imported then.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path


class NoDask(Exception):
    """There is no environment of Dask that this process can use. The text says why."""


def import_dask(path: str) -> None:
    """Have the environment made by the server's own process, whose socket is at `path`, and import from it from now on.
    Raises NoDask."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(json.dumps({"dask": True}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer = json.loads(next(lines, b"{}"))
    except OSError as error:
        raise NoDask(str(error)) from None
    if "python" not in answer:
        raise NoDask(answer.get("failed") or "the server's own process is gone")
    version = "python{}.{}".format(*sys.version_info)
    found = Path(answer["python"]).parent.parent / "lib" / version / "site-packages"
    if not found.is_dir():
        raise NoDask(f"its environment is not of this server's {version}")
    # Before what the server's own Python may have of Dask.
    sys.path.insert(1, str(found))
