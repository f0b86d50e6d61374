"""What somebody needs of a server, as people write it."""

from __future__ import annotations

from typing import Any

import pytest

from skylift import catalogue
from skylift.client.errors import UsageError
from skylift.client.job.requirements import NOTHING, Requirements, check_words, read_requirements


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("16GiB", 16384),
        ("16G", 16384),
        ("16384MiB", 16384),
        ("16 gib", 16384),
        ("0.5GiB", 512),
        ("2TiB", 2 << 20),
        # A decimal gigabyte is a bit less, so that what has as many GiB fits.
        ("16GB", 15259),
    ],
)
def test_memory(text: str, mib: int) -> None:
    assert read_requirements(memory=text).memory_mib == mib


@pytest.mark.parametrize(
    ("text", "gpus"), [("1", (1, "")), ("8", (8, "")), ("T4", (1, "T4")), ("A10G:4", (4, "A10G")), ("T4 : 2", None)]
)
def test_gpu(text: str, gpus: tuple[int, str] | None) -> None:
    if gpus is None:
        with pytest.raises(UsageError, match="--gpu"):
            read_requirements(gpu=text)
    else:
        found = read_requirements(gpu=text)
        assert (found.gpus, found.gpu) == gpus


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("cpu", "0"),
        ("cpu", "-1"),
        ("cpu", "four"),
        ("cpu", "1.5"),
        ("memory", "16"),
        ("memory", "16XB"),
        ("memory", "0GiB"),
        ("memory", "-1GiB"),
        ("memory", "9999999999TiB"),
        ("memory", ""),
        ("arch", "sparc"),
        ("gpu", "0"),
        ("gpu", "T4:0"),
        ("gpu", ""),
        ("disk", "big"),
        ("network", "fast"),
    ],
)
def test_what_cannot_be_read_is_named(option: str, text: str) -> None:
    wrong: dict[str, Any] = {option: text}
    with pytest.raises(UsageError, match=f"^--{option} '{text}'") as caught:
        read_requirements(**wrong)
    assert caught.value.advice


def test_nothing_is_asked() -> None:
    assert not read_requirements()
    assert read_requirements() == NOTHING
    assert read_requirements(cpu="1")


def test_spelled_as_options() -> None:
    asked = read_requirements(
        cpu="4", memory="16G", arch="aarch64", gpu="T4:2", disk="1TB", network="10Gbps", words=["M7i"]
    )
    assert asked.spell() == "m7i --cpu 4 --memory 16GiB --arch arm64 --gpu T4:2 --disk 1000GB --network 10Gbps"
    assert Requirements(memory_mib=512).spell() == "--memory 512MiB"
    assert [read_requirements(memory=each).spell() for each in ("4gb", "1.5GiB", "3815MiB", "1000MB")] == [
        "--memory 4GB",
        "--memory 1.5GiB",
        "--memory 4GB",
        "--memory 1GB",
    ]


@pytest.mark.parametrize(
    ("word", "near"),
    [("memory", "memory-optimized"), ("burst", "burstable"), ("m7", "m7i"), ("zzzz", "general-purpose")],
)
def test_a_word_that_means_nothing(word: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"called '{word}'") as caught:
        check_words([word], catalogue.types().values())
    assert near in caught.value.advice
