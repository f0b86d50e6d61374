"""The console's way to a cloud that may be restarted."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skylift.client.errors import Unreachable
from skylift.client.job.settings import Credentials, OneImage, Secret, Settings
from skylift.console.call import Call
from skylift.console.job_port import JobPort
from skylift.console.port import Port


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize(
    "ask",
    [
        lambda port: port.perform(Call("ec2", "describe_instances")),
        lambda port: port.pages(Call("ec2", "describe_instances"), "Reservations"),
        lambda port: JobPort(port).jobs(),
        lambda port: JobPort(port).job("job"),
        lambda port: JobPort(port).job_steps("job"),
        lambda port: JobPort(port).results("job"),
        lambda port: JobPort(port).cancel("job"),
        lambda port: JobPort(port).repeat("job"),
        lambda port: port.beginning("bucket", "key", 1),
    ],
)
def test_a_cloud_that_cannot_be_reached_is_looked_for_by_the_next_call(
    ask: Callable[[Port], Any], tmp_path: Path
) -> None:
    looked: list[int] = []
    # Bound and not listened at: nobody else has it, and nobody answers.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))

        def find_settings() -> Settings:
            looked.append(1)
            return Settings(
                "us-east-1",
                tmp_path,
                OneImage("ami-1"),
                lambda: "192.0.2.1",
                endpoint_url=f"http://127.0.0.1:{taken.getsockname()[1]}",
                credentials=Credentials("AKIA", Secret("secret")),
                account="123456789012",
            )

        port = Port(find_settings)
        for _ in range(2):
            with pytest.raises(Unreachable):
                ask(port)
    assert len(looked) == 3, "once when it is made, and by each call"
