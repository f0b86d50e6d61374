"""What the page of an instance says where CloudWatch has no figures of something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pytest
from shown_page import shown_page

from skylift.console.call import Call, list_vpcs
from skylift.console.cloud_view import CloudView
from skylift.console.pages.instance import InstancePage

PROCESSOR, MEMORY, NETWORK = "CPUUtilization", "mem_used_percent", ("NetworkIn", "NetworkOut")
DISKS = ("EBSReadBytes", "EBSWriteBytes")
CGROUPS = "Linux counts a server's disks with cgroups of version 2 and their io controller only."
AGENT = "CloudWatch's agent tells of memory, where it runs on the server."


@dataclass
class Settings:
    billed: bool


class Account:
    def __init__(self, known: Sequence[str], *, billed: bool) -> None:
        self._known, self.settings, self.port = known, Settings(billed), self

    def metric(self, instance: str, name: str, space: str) -> Sequence[tuple[float, float]]:
        return [(0.0, 1.0), (60.0, 2.0)] if name in self._known else []

    def metric_call(self, instance: str, name: str, space: str) -> Call:
        return list_vpcs()


@pytest.mark.parametrize(
    ("known", "billed", "words"),
    [
        ((PROCESSOR, MEMORY, *NETWORK, *DISKS), False, ""),
        ((PROCESSOR, MEMORY, *NETWORK), False, f"no figures of: Disk read, Disk written. {CGROUPS}"),
        ((PROCESSOR, *NETWORK, *DISKS), True, f"no figures of: Memory. {AGENT}"),
        ((PROCESSOR, MEMORY, *DISKS), False, "no figures of: Network in, Network out."),
        ((), False, "No figures yet."),
    ],
)
async def test_it_says_why(known: Sequence[str], billed: bool, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_page(monkeypatch) as page:
        await InstancePage(cast(CloudView, Account(known, billed=billed)), "i-1")._monitoring()
        assert page.shows(words)
        assert page.shows("no figures of:") == ("no figures of:" in words)
        assert page.shows(CGROUPS) == (CGROUPS in words)
