"""Which tests take long, in a table at the end of a run."""

from __future__ import annotations

from collections import defaultdict

import pytest


class Slowest:
    """A plugin of pytest: adds up what each test takes, with what is made for it and taken away after it."""

    def __init__(self, how_many: int) -> None:
        self._how_many = how_many
        self._tests: defaultdict[str, float] = defaultdict(float)
        self._around: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._tests[report.nodeid] += report.duration
        if report.when != "call":
            self._around[report.nodeid] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        files: defaultdict[str, float] = defaultdict(float)
        for name, seconds in self._tests.items():
            files[name.split("::")[0]] += seconds
        total = sum(self._tests.values())
        terminalreporter.write_sep("-", f"the {self._how_many} slowest tests, in seconds; all together {total:.0f}")
        for name, seconds in self._first(self._tests):
            around = self._around[name]
            note = f"  ({around:.1f} of it to set up and clear away)" if around >= 1 else ""
            terminalreporter.write_line(f"{seconds:8.1f}  {name}{note}")
        terminalreporter.write_sep("-", "the slowest files, in seconds")
        for name, seconds in self._first(files):
            terminalreporter.write_line(f"{seconds:8.1f}  {name}")

    def _first(self, found: dict[str, float]) -> list[tuple[str, float]]:
        return sorted(found.items(), key=lambda pair: -pair[1])[: self._how_many]
