"""A short round of the fuzzer; `tests/fuzz_endpoint.py` goes on for as long as one likes, with seeds of one's own."""

from __future__ import annotations

from pathlib import Path

from fuzz_endpoint import fuzzing, resident_mib

WARM, REQUESTS = 300, 1200
GROWTH = 40.0
"""MiB that may come on top once everything is loaded: a leak of each request's body is ten times as much."""


def test_whatever_is_sent_the_endpoint_answers_in_order(tmp_path: Path) -> None:
    with fuzzing(tmp_path, seed=20261128) as (fuzzer, faults):
        for _ in range(WARM):
            fuzzer.shoot()
        before = resident_mib()
        for _ in range(REQUESTS):
            fuzzer.shoot()
        assert faults.found == []
        assert resident_mib() - before < GROWTH
        # The seed has something of everything, and most of what is whole gets as far as an operation.
        assert min(fuzzer.kinds.values()) >= 3, fuzzer.kinds
        assert len(fuzzer.performed) > fuzzer.kinds["whole"] / 2
