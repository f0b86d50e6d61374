"""Documents that their clients have made smaller."""

from __future__ import annotations

import gzip

import pytest

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire import body
from skylift.cloud.wire.body import inflated

# Without the second in which it was made: cases are the same in every process that collects them.
WHOLE = gzip.compress(b"a document", mtime=0)


def test_a_document_is_what_it_was() -> None:
    assert inflated(WHOLE) == b"a document"
    assert inflated(gzip.compress(b"")) == b""


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "ends early"),
        (b"plain", "not gzip"),
        (WHOLE[:-1], "ends early"),
        (WHOLE[:-5] + b"xxxxx", "not gzip"),
        (WHOLE + b"more", "follow the end"),
        (WHOLE + WHOLE, "follow the end"),
    ],
    ids=["nothing", "plain", "cut", "damaged", "more", "twice"],
)
def test_what_is_none_is_refused(data: bytes, word: str) -> None:
    with pytest.raises(ServiceError, match=word) as refused:
        inflated(data)
    assert refused.value.code == "SerializationException"


def test_a_small_body_does_not_become_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "LARGEST_IN_MEMORY", 1000)
    assert len(inflated(gzip.compress(bytes(1000)))) == 1000
    with pytest.raises(ServiceError, match="too big"):
        inflated(gzip.compress(bytes(1001)))
