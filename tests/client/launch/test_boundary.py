"""The boundary of jobs' roles, by its version."""

from __future__ import annotations

import hashlib
import json

from skylift.client.launch.role import BOUNDARY, boundary_arn, boundary_policy

DOCUMENT = "1225eacf4a7be22017c2b37700a7ae28fad533a436af2dc179ffc52003a0ad37"


def test_another_document_has_another_name() -> None:
    """An account keeps the policy that it has under a name. So whoever changes the document changes the number in
    BOUNDARY, too, and then writes down here what belongs together."""
    document = json.dumps([boundary_policy("123456789012"), boundary_policy("123456789012", ["data"])], sort_keys=True)
    assert (BOUNDARY, hashlib.sha256(document.encode()).hexdigest()) == ("skylift-boundary-8", DOCUMENT)


def test_two_boundaries_that_allow_different_things_have_different_names() -> None:
    """A bucket may be called `list`, and what may be read is not what may be listed."""
    allowed = [
        (("a-data", "list", "z-data"), ()), (("a-data",), ("z-data",)), (("a-data", "z-data"), ()),
        ((), ("a-data",)),
        (("list", "a-data"), ()), (("a-data",), ()), (("a-data", "list"), ("z-data",)),
        (("a-data",), ("list", "z-data")),
    ]  # fmt: skip
    assert len({boundary_arn("123456789012", *each) for each in allowed}) == len(allowed)
