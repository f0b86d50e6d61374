"""What a server says reaches a terminal only as printable characters, and no command ends by it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.hostile_json import MANIFEST, STATUS
from test_hostile_record import Hostile, hostile  # noqa: F401 (a fixture)

from skylift.cli.main import perform
from skylift.client.job.record import JobKeys

WORDS = "half \ud800, whole \udbff\udfff \x1b[2J\x1b]0;title\x07\x9b31m\r\u202e\u2028\x00.\n"
NOT_SENT = [{"path": f"out/\udce9{WORDS}", "reason": WORDS}]
TRY: dict[str, Any] = {**STATUS["tries"][0], "reason": WORDS}
SAID = {
    "failed": {"state": "failed", "exit_code": 1, "reason": WORDS, "detail": WORDS},
    "broken": {"state": "broken", "exit_code": None, "reason": WORDS, "detail": WORDS * 5},
    "never began": {"state": "failed", "reason": WORDS, "started": None, "program_seconds": None},
    "retried": {"tries": [TRY, TRY], "attempt": 1, "reason": WORDS},
    "a state": {"state": WORDS},
    "a market": {"market": WORDS, "instance_type": WORDS, "environment": WORDS},
    "an instance": {"instance": WORDS, "role": WORDS},
    "a signal": {"signal": WORDS, "state": "failed"},
    "a time": {"started": WORDS},
}
COMMANDS = [["ps", "--all"], ["ps", "--all", "--json"], ["wait"], ["wait", "--json"], ["attach"], ["logs"], ["results"]]


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_words_of_a_server(
    hostile: Hostile,  # noqa: F811
    said: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    hostile.status("x", streams={"stdout": 0, "stderr": 0}, cut={}, checkpoint=None, **said)
    more = {"results": [], "not_sent": NOT_SENT, "left_behind": [WORDS], "changed": [WORDS], "unmatched": [WORDS]}
    hostile.put(JobKeys("x").manifest, {**MANIFEST, **more})
    for command, *options in COMMANDS:
        which = ["x"] if command != "ps" else []
        code = perform([command, *options, *which])
        out, err = capfd.readouterr()
        assert code in (0, 1, 125)
        assert (out + err).replace("\n", "").isprintable()
        if "--json" in options:
            json.loads(out)
