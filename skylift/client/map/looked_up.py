"""The inputs of a scheduled map that are looked up when a run begins: the objects that its places in S3 name then.

The run's server lists the places and writes what it finds into `server/map/found.json`, once: {"found": [[KEY, ...],
...]}, a list of keys for each place of the spec. Whoever reads the map makes the same inputs of it. A program may have
taken the server over; so a key that its place does not admit makes the whole list one that cannot be read.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

from skylift.agent.remote.aws import Aws, Refused, Unreachable
from skylift.agent.remote.prefix import Prefix
from skylift.client.map.spec import admits, glob_of
from skylift.client.text.json_object import parse_object
from skylift.contract.document import Malformed
from skylift.contract.map_progress import MOST_INPUTS
from skylift.contract.map_spec import SPEC_LIMIT, InputPlace, MapInput, MapSpec

FOUND = "server/map/found.json"
FOUND_LIMIT = SPEC_LIMIT


def list_keys(aws: Aws, place: InputPlace) -> list[str]:
    """What there is at a place, in S3's order. Raises Unreachable, and Refused for a bucket that is gone."""
    bucket, found, more = Prefix(aws.in_region(place.region), place.bucket), list[str](), ""
    while True:
        asked = {"list-type": "2", "encoding-type": "url", "prefix": glob_of(place.key).fixed}
        if more:
            asked["continuation-token"] = more
        query = urllib.parse.urlencode(asked, quote_via=urllib.parse.quote, safe="-_.~")
        status, _, answer = bucket.request("GET", "", query)
        if status == 404:
            raise Refused(404, f"there is no bucket {place.bucket}")
        try:
            page = ElementTree.fromstring(answer)  # noqa: S314 (S3's own answer)
        except ElementTree.ParseError as error:
            raise Unreachable(f"the list of s3://{place.bucket}: {error}") from None
        found += [urllib.parse.unquote_plus(each) for each in _texts(page, "Contents", "Key")]
        more = next(_texts(page, "NextContinuationToken"), "")
        if not more:
            return found


def _texts(page: ElementTree.Element, *path: str) -> Iterator[str]:
    """Of all elements at this path, in whatever namespace."""
    found = [page]
    for name in path:
        found = [child for each in found for child in each if child.tag.rpartition("}")[2] == name]
    return (each.text or "" for each in found)


def encode_found(found: Sequence[Sequence[str]]) -> bytes:
    return json.dumps({"found": found}).encode()


def complete(spec: MapSpec, data: bytes) -> MapSpec:
    """The spec with the inputs that were found, after those that it has. Raises Malformed."""
    lists = parse_object(data, FOUND_LIMIT).list("found", len(spec.places))
    if len(lists) != len(spec.places):
        raise Malformed(f"`found` has {len(lists)} lists for {len(spec.places)} places")
    texts = {each.text for each in spec.inputs}
    inputs = list(spec.inputs)
    for place, keys in zip(spec.places, lists, strict=True):
        for key in _keys(place, keys):
            text = f"s3://{place.bucket}/{key}"
            if text not in texts:
                texts.add(text)
                inputs.append(MapInput(len(inputs), text, key.rpartition("/")[2]))
                if len(inputs) > MOST_INPUTS:
                    raise Malformed(f"there are more than {MOST_INPUTS:,} inputs")
    return spec._replace(inputs=tuple(inputs), total=len(inputs), places=())


def _keys(place: InputPlace, keys: object) -> list[str]:
    if not isinstance(keys, list):
        raise Malformed("`found` has something that is no list")
    for key in keys:
        if not isinstance(key, str) or not admits(place, key):
            raise Malformed(f"`found` has something that s3://{place.bucket}/{place.key} does not name")
    return keys
