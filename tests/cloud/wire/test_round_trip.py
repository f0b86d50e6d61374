"""Both directions against botocore: what it serialises we parse to the same parameters, what we serialise it reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from botocore.awsrequest import HeadersDict
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from wire_operations import OPERATIONS, Chance, Moment, Values, patterned, sample

from skylift.cloud.domain.bucket import Spool
from skylift.cloud.wire.call import Request
from skylift.cloud.wire.codec import Codec
from skylift.cloud.wire.codecs import codecs_for
from skylift.cloud.wire.models import OWN_MODELS

PRECISION: defaultdict[str, Moment] = defaultdict(lambda: Chance.millisecond, query=Chance.second)
ANSWERED = PRECISION | {"rest-xml": Chance.second}
"""S3's dates have a place for milliseconds, and answers never any there."""
KEEPS_EMPTIES = {"json", "rest-json", "rest-xml", "smithy-rpc-v2-cbor"}
EXAMPLES = 25
"""Of each shape."""


@cache
def botocore_service(name: str) -> Any:
    return ServiceModel(Loader(extra_search_paths=[str(OWN_MODELS)]).load_service_model(name, "service-2"), name)


@cache
def codec(service: str, protocol: str) -> Codec:
    return next(codec for codec in codecs_for(service) if codec.service.protocol == protocol)


@cache
def serializer_for(protocol: str) -> Any:
    return create_serializer(protocol, include_validation=False)


@cache
def parser_for(protocol: str) -> Any:
    return create_parser(protocol)


SPOKEN = [
    (service, protocol, name)
    for service, name in OPERATIONS
    for protocol in botocore_service(service).metadata.get("protocols", (botocore_service(service).protocol,))
]


def as_request(serialized: dict[str, Any]) -> tuple[Request, bytes]:
    """botocore's request dictionary as it would arrive here."""
    body = serialized["body"]
    if isinstance(body, dict):
        body = urlencode(body).encode()
    target = serialized["url_path"]
    if serialized["query_string"]:
        target += ("&" if "?" in target else "?") + urlencode(serialized["query_string"], doseq=True)
    headers = tuple((name, str(value)) for name, value in serialized["headers"].items())
    return Request(serialized["method"], target, (("Host", "127.0.0.1:4520"), *headers), "127.0.0.1"), body


@pytest.mark.parametrize("service", sorted({service for service, _ in OPERATIONS}))
def test_every_pattern_has_a_sample(service: str) -> None:
    """Random choices come upon a new one only now and then."""
    model = botocore_service(service)
    seen: set[str] = set()
    for name in (name for one, name in OPERATIONS if one == service):
        operation = model.operation_model(name)
        for side in (operation.input_shape, operation.output_shape):
            for shape in patterned(side, seen):
                sample(shape)


@contextmanager
def example(number: int) -> Iterator[Chance]:
    """The same values for the same number, which is named where something goes wrong."""
    try:
        yield Chance(number)
    except Exception as error:
        error.add_note(f"example {number}")
        raise


@pytest.mark.parametrize(("service", "protocol", "name"), SPOKEN)
def test_what_botocore_serialises_we_parse(service: str, protocol: str, name: str) -> None:
    operation = botocore_service(service).operation_model(name)
    for number in range(EXAMPLES):
        with example(number) as chance:
            values = Values(chance, number, PRECISION[protocol], empties=protocol in KEEPS_EMPTIES)
            we_parse(service, protocol, operation, values.make(operation.input_shape))


def we_parse(service: str, protocol: str, operation: Any, params: dict[str, Any]) -> None:
    serializer = serializer_for(protocol)
    request, body = as_request(serializer.serialize_to_request(params, operation))

    ours = codec(service, protocol)
    found = ours.operation(request, body)
    assert found.name == operation.name
    expected, payload = params, body
    if found.streamed_input:
        payload = Spool("spooled", len(body), "0" * 32)
        expected = {**params, found.streamed_input: payload}
        if "ContentLength" in params:
            expected["ContentLength"] = payload.size
    carried = without_flat_empties if protocol in KEEPS_EMPTIES else without_empties
    assert ours.decode(found, request, payload) == carried(expected, operation.input_shape)


@pytest.mark.parametrize(("service", "protocol", "name"), SPOKEN)
def test_what_we_serialise_botocore_parses(service: str, protocol: str, name: str) -> None:
    operation = botocore_service(service).operation_model(name)
    for number in range(EXAMPLES):
        with example(number) as chance:
            # botocore leaves JSON's infinities as the text that they travel as.
            values = Values(
                chance, number, ANSWERED[protocol], True, "eventstream", infinities=not protocol.endswith("json")
            )
            botocore_parses(service, protocol, operation, values.make(operation.output_shape))


def botocore_parses(service: str, protocol: str, operation: Any, result: dict[str, Any]) -> None:
    output = operation.output_shape
    ours = codec(service, protocol)
    response = ours.encode(ours.service.operation(operation.name), result, "a-request-id")
    streamed = operation.has_streaming_output
    parsed = parser_for(protocol).parse(
        {
            "status_code": response.status,
            "headers": HeadersDict(response.headers),
            "body": BytesIO(response.body) if streamed else response.body,
        },
        output,
    )
    metadata = parsed.pop("ResponseMetadata")
    # botocore looks at nothing of such an answer whose operation has no output.
    assert metadata.get("RequestId", "a-request-id" if output is None else "") == "a-request-id"
    if streamed:
        payload = output.serialization["payload"]
        parsed[payload] = parsed[payload].read()
    if operation.name == "GetBucketLocation":
        # botocore's client reads this one outside of its parser.
        root = ElementTree.fromstring(response.body)
        assert (root.text or "") == result.get("LocationConstraint", "")
        return
    expected = without_flat_empties(result, output) if output else {}
    if protocol == "rest-xml" and output:
        expected = as_rest_parser_sees(expected, output, operation.http["method"])
    assert parsed == expected


def without_empties(value: Any, shape: Any) -> Any:
    """Empty lists, maps and structures leave no trace in a form."""
    if isinstance(value, dict):
        kept = {key: without_empties(item, None) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ({}, [])}
    if isinstance(value, list):
        return [kept for item in value if (kept := without_empties(item, None)) not in ({}, [])]
    return value


def without_flat_empties(value: Any, shape: Any) -> Any:
    """A flattened list is its items and nothing else."""
    if shape.type_name == "structure":
        return {
            key: without_flat_empties(item, shape.members[key])
            for key, item in value.items()
            if not (item == [] and shape.members[key].serialization.get("flattened"))
        }
    if shape.type_name == "list":
        return [without_flat_empties(item, shape.member) for item in value]
    return value


def as_rest_parser_sees(result: dict[str, Any], output: Any, method: str) -> dict[str, Any]:
    expected = dict(result)
    payload = output.serialization.get("payload")
    if payload:
        expected.setdefault(payload, b"" if output.members[payload].type_name == "blob" else {})
        if output.members[payload].type_name == "string":
            expected[payload] = result.get(payload, "")
    for name, shape in output.members.items():
        if shape.serialization.get("location") == "headers":
            expected.setdefault(name, {})
    if method != "HEAD":
        # What is really sent decides; the server writes this header.
        expected.pop("ContentLength", None)
    return expected
