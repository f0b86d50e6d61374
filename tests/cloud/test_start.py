"""What a cloud loads before its first answer."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"botocore", "boto3", "urllib3", "dateutil", "pyroute2", "asyncssh", "rich", "typer", "aiohttp.web"}
"""Each takes a tenth of a second of the time until a cloud that starts answers, or pulls something along that does."""


def test_nothing_heavy_is_loaded_before_the_first_answer() -> None:
    code = "import sys, skylift.cloud.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "aiohttp.web_server" in loaded
    assert HEAVY & loaded == set()
