"""`skylift doctor`: what it shows."""

from __future__ import annotations

import pytest

from skylift.cli.doctor import _show
from skylift.cloud.compute.capability import Capability

FOUND = [
    Capability("kernel", True, "6.18"),
    Capability("[b]image[/b]", False, "not built\x1b[2J", "skylift setup"),
    Capability("root", None, "perhaps", "ask somebody"),
]


def test_what_is_missing_has_its_mend_below(capsys: pytest.CaptureFixture[str]) -> None:
    _show(FOUND)
    assert capsys.readouterr().out.splitlines() == [
        "         NEEDED        FOUND",
        "ok       kernel        6.18",
        r"MISSING  [b]image[/b]  not built\x1b[2J",
        "                       fix: skylift setup",
        "?        root          perhaps",
        "                       fix: ask somebody",
    ]
