#!/usr/bin/env python3
"""Compares this cloud's answers with answers that were recorded on AWS, and prints what AWS has and we lack.

    python scripts/recorded.py FOLDER...

Each FOLDER is searched for two kinds of files, of which none is part of this project:

- placebo's recordings, a file an answer (`ec2.DescribeInstances_1.json`): cloud-custodian has them in
  `tests/data/placebo`
- LocalStack's snapshots (`test_iam.snapshot.json`, below a folder that is named after the service): of these the error
  codes are taken, as they do not say what was asked

Every recorded operation that only looks is asked of a cloud of our own, without servers, that has one of most things.
Of operations that change something, the answers are compared that making and changing these things had.
What is compared are the members of the answers (`Reservations[].Instances[].ImageId`), and the codes of errors. What we
leave out on purpose stands in `scripts/recorded_left_out.toml`, with the reason.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from comparison.error_codes import codes_of_errors
from comparison.our_answers import OurAnswers
from comparison.recordings import Recorded, UsageError, read

from skylift.cloud.services.api.resource import KINDS

ROOT = Path(__file__).parent.parent
LEFT_OUT = ROOT / "scripts" / "recorded_left_out.toml"


@dataclass(frozen=True)
class LeftOut:
    """Members, or codes of errors, that we leave out on purpose. Both may be patterns (`*`)."""

    operation: str
    members: tuple[str, ...]
    reason: str

    def has(self, operation: str, member: str) -> bool:
        return fnmatchcase(operation, self.operation) and any(_like(member, each) for each in self.members)


def _like(member: str, wanted: str) -> bool:
    """`[]` is not a pattern here. Whatever is below a member belongs to it."""
    written = wanted.replace("[]", "[[]]")
    return fnmatchcase(member, written) or fnmatchcase(member, f"{written}[.[]*")


def left_out(path: Path = LEFT_OUT) -> list[LeftOut]:
    rows = tomllib.loads(path.read_text())["left_out"]
    return [LeftOut(row["operation"], tuple(row["members"]), row["reason"]) for row in rows]


def report(found: Recorded, ours: OurAnswers, out: list[LeftOut]) -> Iterator[str]:
    """A line for each operation, and the sum of them."""
    same = lacking = unasked = 0
    without: dict[str, str] = {}
    for operation in sorted(found.members):
        answer = ours.members(operation)
        if isinstance(answer, str):
            without[operation] = answer
            continue
        theirs = found.members[operation]
        meant = {member for member in theirs - answer if any(each.has(operation, member) for each in out)}
        lacks = sorted(theirs - answer - meant)
        same, lacking, unasked = same + len(theirs & answer), lacking + len(lacks), unasked + len(meant)
        tail = f"; lacks {', '.join(lacks)}" if lacks else ""
        there = f"{len(theirs & answer)} of {len(theirs)} members of {found.answers[operation]} answers"
        yield f"{operation}: {there}{tail}"
    yield ""
    for operation, why in without.items():
        yield f"{operation}: not asked, as {why}"
    yield ""
    # Those of malformed ids are made of the others.
    answered = codes_of_errors(ROOT / "skylift/cloud") | {kind.malformed_error for kind in KINDS}
    codes = {
        code: services
        for code, services in sorted(found.codes.items())
        if code not in answered and not any(each.has(f"{service}.errors", code) for each in out for service in services)
    }
    for code, services in codes.items():
        yield f"{', '.join(sorted(services))}: the error {code} is never answered"
    compared = len(found.members) - len(without)
    files = f"{found.passed_over} file{' was' if found.passed_over == 1 else 's were'}"
    tail = f" {files} passed over." if found.passed_over else ""
    yield (
        f"{compared} operations of {sum(found.answers.values())} recorded answers compared: {same} members are there, "
        f"{lacking} are lacking, {unasked} are left out on purpose; {len(without)} operations were not asked. "
        f"{len(found.codes) - len(codes)} of {len(found.codes)} codes of errors are ours, too, or left out on purpose."
        f"{tail}"
    )


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/cloud/clients")]
    from serverless_cloud import serverless_cloud  # noqa: PLC0415 - the tests' own, which is no package

    try:
        found = read([Path(argument) for argument in arguments])
        with tempfile.TemporaryDirectory() as directory, serverless_cloud(Path(directory)) as cloud:
            for line in report(found, OurAnswers(cloud), left_out()):
                print(line)
    except UsageError as error:
        print(f"recorded: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
