"""What systemd hears of the cloud's process: that it is ready, and its log."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from skylift.cloud.process.notify import notify

LOGS = """
import logging, sys
from pathlib import Path
from skylift.cloud.process.log import log_to
log_to(Path(sys.argv[1]), journal=True)
logging.getLogger("skylift.cloud.wire").info("r-1 ec2.DescribeInstances 200")
logging.getLogger("skylift.cloud.wire").warning("too many")
logging.getLogger("skylift.cloud").info("started\\nforged")
print("a traceback", file=sys.stderr)
"""


@pytest.mark.parametrize("abstract", [False, True])
def test_a_word_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(name.replace("@", "\0", 1) if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1")
        assert heard.recv(100) == b"READY=1"
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


def test_the_journal_has_the_log_without_requests(tmp_path: Path) -> None:
    log = tmp_path / "cloud.log"
    done = subprocess.run([sys.executable, "-c", LOGS, log], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["WARNING skylift.cloud.wire: too many", "INFO skylift.cloud: started\\nforged"]
    written = log.read_text()
    for each in ("r-1 ec2", "too many", "started\\nforged", "a traceback"):
        assert each in written
