"""What moto looks up anew for each request, though it stays the same as long as a process lives."""

from __future__ import annotations

import functools
from typing import Any

import xmltodict  # type: ignore[import-untyped]
from moto import backends
from moto.core import responses, serialize


@functools.cache
def quick_moto() -> None:
    """Its answers stay the same, for two thirds of the processor time."""
    moto_backends, moto_responses, picker = map(_patched, (backends, responses, serialize.XFormedAttributePicker))
    # moto lists its own two hundred folders twice a request.
    folders = tuple(backends.list_of_moto_modules())
    moto_backends.list_of_moto_modules = lambda: folders
    moto_responses.method_names_from_class = functools.cache(moto_responses.method_names_from_class)
    # A name that is not valid raises, and is not remembered.
    xmltodict._validate_name = functools.lru_cache(10_000)(xmltodict._validate_name)
    picker.get_possible_keys = remember_keys(picker.get_possible_keys)


def _patched(place: Any) -> Any:
    return place


def remember_keys(find: Any) -> Any:
    """moto looks for a member of an answer by a dozen names, which depend on its shape and on what holds it."""

    def possible_keys(picker: Any, context: serialize.AttributePickerContext) -> Any:
        shape: Any = context.shape
        if shape is None or picker.alias_providers is not serialize.DEFAULT_ALIAS_PROVIDERS:
            return find(picker, context)
        kept = shape.__dict__.setdefault("possible_keys", {})
        which = context.key, context.obj.__class__, getattr(getattr(shape, "parent", None), "name", None)
        if which not in kept:
            kept[which] = tuple(dict.fromkeys(find(picker, context)))
        return kept[which]

    return possible_keys
