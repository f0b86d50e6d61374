"""Finds the instance types that meet given needs, and the cheapest of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skylift.client.errors import UsageError
from skylift.client.job.requirements import BURSTABLE, Requirements, check_words, spell_memory

if TYPE_CHECKING:
    from skylift.catalogue import InstanceType

Price = Callable[[str], float | None]
"""USD an hour of a type; None where no source has it."""
Order = Callable[["InstanceType", float], float]

ORDERS: Mapping[str, Order] = {
    "price": lambda kind, price: price,
    "price-per-vcpu": lambda kind, price: price / kind.vcpus,
    "price-per-gib": lambda kind, price: price / (kind.memory_mib / 1024),
}
"""Sort orders. Of two equal types, the larger one comes first."""


@dataclass(frozen=True)
class Priced:
    kind: InstanceType
    price: float | None


def fitting(types: Iterable[InstanceType], wanted: Requirements) -> list[InstanceType]:
    """All types that have at least the resources that are needed."""
    return [each for each in types if fits(each, wanted)]


def fits(kind: InstanceType, wanted: Requirements) -> bool:
    return _is_of(kind, wanted) and _lacks(kind, wanted) == 0


def by_price(types: Iterable[InstanceType], price: Price, order: str = "price") -> list[Priced]:
    """The cheapest first, of equal price the larger one; those without a price last, the smallest first.

    Raises UsageError for an unknown order.
    """
    if order not in ORDERS:
        raise UsageError(f"--sort {order!r} is not known.", f"It may be {', '.join(ORDERS)}.")
    priced = [Priced(each, price(each.name)) for each in types]

    def key(each: Priced) -> tuple[bool, float, int, int, str]:
        kind = each.kind
        if each.price is None:
            return (True, 0.0, kind.vcpus, kind.memory_mib, kind.name)
        return (False, ORDERS[order](kind, each.price), -kind.vcpus, -kind.memory_mib, kind.name)

    return sorted(priced, key=key)


def select(
    types: Collection[InstanceType], wanted: Requirements, price: Price, order: str, *, everything: bool = False
) -> list[Priced]:
    """The types that fit, in this order: those of the current generation, and earlier ones that are named or with
    `everything`. Raises UsageError for a word that no type has, for an unknown order, and where nothing fits."""
    check_words(wanted.words, types)
    known = [each for each in types if each.current or everything or {each.family, each.name} & set(wanted.words)]
    found = by_price(fitting(known, wanted), price, order)
    if not found:
        raise nothing_fits(known, wanted, price)
    return found


def cheapest(types: Sequence[InstanceType], wanted: Requirements, price: Price) -> list[tuple[InstanceType, float]]:
    """The types that fit and have a price, the cheapest first. Raises UsageError if there is none, with the nearest
    type.
    """
    found = [(each.kind, each.price) for each in by_price(fitting(types, wanted), price) if each.price is not None]
    if not found:
        raise nothing_fits(types, wanted, price)
    return found


def nothing_fits(types: Sequence[InstanceType], wanted: Requirements, price: Price) -> UsageError:
    """The refusal of needs that no type meets, with the type that comes nearest to them."""
    message = f"There is no instance type for {wanted.spell()}."
    if wanted.gpu and not any(_has_gpu(each, wanted.gpu) for each in types):
        names = sorted({each.accelerators.name for each in types if each.accelerators is not None})
        return UsageError(message, f"There are {', '.join(names)}." if names else "No type here has a GPU.")
    near = [each for each in types if _is_of(each, wanted)] or list(types)
    if not near:
        return UsageError(message)

    def distance(each: InstanceType) -> tuple[float, float]:
        cost = price(each.name)
        return (_lacks(each, wanted), float("inf") if cost is None else cost)

    nearest = min(near, key=distance)
    return UsageError(message, f"The nearest is {describe(nearest)}.")


def describe(kind: InstanceType) -> str:
    """`m7i.xlarge: 4 vCPU, 16GiB, x86_64`, and its further resources."""
    parts = [f"{kind.vcpus} vCPU", spell_memory(kind.memory_mib), kind.architecture]
    if kind.accelerators is not None:
        parts.append(f"{kind.accelerators.count} x {kind.accelerators.name}")
    if kind.disk_gb:
        parts.append(f"{kind.disk_gb:g}GB of disk")
    return f"{kind.name}: {', '.join(parts)}"


def _is_of(kind: InstanceType, wanted: Requirements) -> bool:
    """Needs that a type meets or does not: architecture, family and kind of GPU."""
    if wanted.arch and wanted.arch != kind.architecture:
        return False
    if wanted.gpu and not _has_gpu(kind, wanted.gpu):
        return False
    if BURSTABLE in wanted.words and not kind.burstable:
        return False
    named = [word for word in wanted.words if word != BURSTABLE]
    return not named or bool({kind.category, kind.family, kind.name} & set(named))


def _has_gpu(kind: InstanceType, name: str) -> bool:
    """The whole name, or words of it: `L40S`, `rtx pro 4500`, `Qualcomm`; T4 does not match T4g."""
    if kind.accelerators is None:
        return False
    has, asked = _words(kind.accelerators.name), _words(name)
    return any(has[start : start + len(asked)] == asked for start in range(len(has)))


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9+]+", name.lower())


def count_gpus(kind: InstanceType, name: str = "") -> int:
    """Its GPUs; of a name that was asked for also other accelerators, like Trainium."""
    return kind.accelerators.count if name and kind.accelerators is not None else kind.gpus


def _lacks(kind: InstanceType, wanted: Requirements) -> float:
    """How far the type is from the needs: the sum of the shares that are missing. 0 when it fits."""
    pairs = (
        (kind.vcpus, wanted.cpu),
        (kind.memory_mib, wanted.memory_mib),
        (count_gpus(kind, wanted.gpu), wanted.gpus),
        (kind.disk_gb, wanted.disk_gb),
        (kind.baseline_gbps, wanted.network_gbps),
    )
    return sum(1 - has / needs for has, needs in pairs if has < needs)
