"""`skylift console --on aws`, where AWS is the endpoint with its services and no servers behind it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serverless_cloud import REGION, Cloud
from support.shown_console import Console


@contextmanager
def console_on_aws(account: Cloud, home: Path) -> Iterator[Console]:
    words = [sys.executable, "-m", "skylift.cli.main", "console", "--no-browser", "--on", "aws", "--region", REGION]
    environment = {**account.environment(home), "SKYLIFT_HOME": str(home / "skylift")}

    def another() -> str:
        return subprocess.run(words, capture_output=True, text=True, check=True, env=environment, cwd=home).stdout

    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=environment, cwd=home)
    try:
        yield Console(process, another)
    finally:
        process.terminate()
        process.communicate()
