"""Which types fit, and which of them is the cheapest: against a list that is looked through by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift import catalogue
from skylift.catalogue import InstanceType
from skylift.client.errors import UsageError
from skylift.client.job.requirements import Requirements, read_requirements
from skylift.client.price.choice import ORDERS, by_price, cheapest, fitting

TYPES = [each for each in catalogue.types().values() if each.current]


def price(name: str) -> float | None:
    return catalogue.on_demand(name, "us-east-1")


def test_the_cheapest_for_a_need() -> None:
    (best, hourly), (second, next_price), *_ = cheapest(TYPES, read_requirements(cpu="4", memory="16GiB"), price)
    assert best.vcpus >= 4
    assert best.memory_mib >= 16384
    assert hourly == price(best.name)
    assert hourly <= next_price == price(second.name)


@given(
    cpu=st.integers(0, 128),
    memory=st.integers(0, 1 << 20),
    arch=st.sampled_from(["", "x86_64", "arm64"]),
    gpus=st.integers(0, 4),
    word=st.sampled_from([(), ("memory-optimized",), ("burstable",), ("m7i",)]),
)
def test_nothing_cheaper_would_have_done(cpu: int, memory: int, arch: str, gpus: int, word: tuple[str, ...]) -> None:
    wanted = Requirements(cpu=cpu, memory_mib=memory, arch=arch, gpus=gpus, words=word)

    def does(each: InstanceType) -> bool:
        groups = {each.category, each.family, *(["burstable"] if each.burstable else [])}
        enough = each.vcpus >= cpu and each.memory_mib >= memory and each.gpus >= gpus
        return enough and arch in ("", each.architecture) and set(word) <= groups

    do = {each.name: found for each in TYPES if does(each) and (found := price(each.name)) is not None}
    assert {each.name for each in fitting(TYPES, wanted)} == {each.name for each in TYPES if does(each)}
    if do:
        chosen = cheapest(TYPES, wanted, price)
        assert {kind.name for kind, _ in chosen} == set(do)
        assert [usd for _, usd in chosen] == sorted(do.values())
    else:
        with pytest.raises(UsageError, match="There is no instance type for"):
            cheapest(TYPES, wanted, price)


def test_of_several_families_any_will_do_and_burstable_is_asked_besides() -> None:
    def families(*words: str) -> set[str]:
        return {each.family for each in fitting(TYPES, Requirements(words=words))}

    assert families("m7i", "c7i") == {"m7i", "c7i"}
    assert families("t3", "m7i", "burstable") == {"t3"}


def test_those_without_a_price_are_the_smallest_first() -> None:
    found = [each.kind for each in by_price(TYPES, lambda name: None)]
    assert [each.vcpus for each in found] == sorted(each.vcpus for each in TYPES)


@pytest.mark.parametrize("order", ORDERS)
def test_order(order: str) -> None:
    found = by_price(TYPES, price, order)
    assert {each.kind.name for each in found} == {each.name for each in TYPES}
    priced = [ORDERS[order](each.kind, each.price) for each in found if each.price is not None]
    assert priced == sorted(priced)
    assert all(each.price is None for each in found[len(priced) :])
    with pytest.raises(UsageError, match="--sort"):
        by_price(TYPES, price, "name")


def test_the_nearest_of_what_does_not_exist() -> None:
    most = max(each.memory_mib for each in TYPES)
    with pytest.raises(UsageError, match=r"no instance type for --memory 102400GiB") as caught:
        cheapest(TYPES, read_requirements(memory="100TiB"), price)
    assert f"{most // 1024}GiB" in caught.value.advice
    # What is either so or not stays as it was asked.
    with pytest.raises(UsageError) as caught:
        cheapest(TYPES, read_requirements(cpu="4096", arch="arm64", words=["compute-optimized"]), price)
    assert "The nearest is c" in caught.value.advice
    assert "arm64" in caught.value.advice
    with pytest.raises(UsageError, match="--gpu Voodoo2") as caught:
        cheapest(TYPES, read_requirements(gpu="Voodoo2"), price)
    assert "T4" in caught.value.advice


def test_a_gpu_by_its_name() -> None:
    def names(gpu: str) -> set[str]:
        found = fitting(TYPES, read_requirements(gpu=gpu))
        return {each.accelerators.name for each in found if each.accelerators is not None}

    assert names("t4") == {"T4"}
    assert names("T4g") == {"T4g"}
    assert names("Trainium") == {"Trainium"}
    assert all(each.accelerators for each in fitting(TYPES, read_requirements(gpu="1")))
    assert names("1") >= {"T4", "L4", "H100"}
