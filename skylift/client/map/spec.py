"""Reads and writes the spec of a map, and chooses the objects of its places."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from skylift.client.text.s3_glob import S3Glob
from skylift.contract.document import parse, write
from skylift.contract.map_spec import LONGEST_KEY, SPEC_LIMIT, InputPlace, MapInput, MapSpec

glob_of = lru_cache(maxsize=64)(S3Glob)
"""Of the key of a place."""


def admits(place: InputPlace, key: str) -> bool:
    """Whether an object of this key may be an input: its name becomes an argument."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return False
    return size <= LONGEST_KEY and "\0" not in key and glob_of(place.key).admits(key)


def chosen(place: InputPlace, keys: Iterable[str]) -> list[str]:
    """Which of these are inputs. An object of exactly the place's name counts before a folder of that name."""
    found = [each for each in keys if admits(place, each)]
    return [place.key] if not glob_of(place.key).is_wild and place.key in found else found


def encode_spec(spec: MapSpec) -> bytes:
    fields = write(spec._replace(inputs=(), total=spec.total or len(spec.inputs)))
    return json.dumps({**fields, "inputs": [input_fields(each) for each in spec.inputs]}).encode()


def input_fields(each: MapInput) -> dict[str, Any]:
    return write(each._replace(name="") if each.name == each.text else each)


def parse_spec(data: bytes) -> MapSpec:
    """Raises Malformed."""
    spec = parse(MapSpec, data, SPEC_LIMIT)
    inputs = tuple(each if each.name else each._replace(name=each.text) for each in spec.inputs)
    return spec._replace(inputs=inputs, total=max(spec.total, len(inputs)))
