"""The codec of each protocol."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from skylift.cloud.wire.aws_json import JsonCodec
from skylift.cloud.wire.codec import Codec
from skylift.cloud.wire.models import ServiceModel, load
from skylift.cloud.wire.query import Ec2Codec, QueryCodec
from skylift.cloud.wire.rest_json import RestJsonCodec
from skylift.cloud.wire.rest_xml import RestXmlCodec
from skylift.cloud.wire.rpc_v2 import CborCodec
from skylift.cloud.wire.s3_control import CONTROL, S3ControlCodec


def codecs_for(service: str, hosts: Iterable[str] = ("localhost",), region: str = "") -> tuple[Codec, ...]:
    """A codec for each protocol that the model of `service` names. `hosts` and `region`: see RestXmlCodec."""
    model = load(service)
    return tuple(_codec(replace(model, protocol=protocol), hosts, region) for protocol in model.protocols)


def _codec(model: ServiceModel, hosts: Iterable[str], region: str) -> Codec:
    match model.protocol:
        case "ec2":
            return Ec2Codec(model)
        case "query":
            return QueryCodec(model)
        case "rest-xml":
            return S3ControlCodec(model) if model.name == CONTROL else RestXmlCodec(model, hosts, region)
        case "rest-json":
            return RestJsonCodec(model)
        case "json":
            return JsonCodec(model)
        case "smithy-rpc-v2-cbor":
            return CborCodec(model)
        case protocol:
            raise NotImplementedError(f"{model.name} speaks {protocol}, for which there is no codec")
