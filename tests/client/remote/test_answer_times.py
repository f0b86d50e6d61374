"""Times in AWS's answers, as each of its services writes them."""

from __future__ import annotations

import pytest
from botocore.utils import parse_timestamp

from skylift.client.remote.api import read_time


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-28T22:59:07.000Z",
        "2026-11-28T22:59:07Z",
        "2026-11-28T22:59:07.123456Z",
        "Sat, 28 Nov 2026 22:59:07 GMT",
        "2026-11-28T22:59:07+01:00",
        "1795906747",
        1795906747,
        1795906747.25,
        "1e9",
        "0",
    ],
)
def test_a_time_is_what_botocore_takes_it_for(text: object) -> None:
    assert read_time(text) == parse_timestamp(text)
    assert read_time(text).utcoffset() is not None


def test_a_time_that_is_none_is_refused_as_botocore_refuses_it() -> None:
    with pytest.raises(ValueError, match="Invalid timestamp"):
        read_time("9 bananas Z")
