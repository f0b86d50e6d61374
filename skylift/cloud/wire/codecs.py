"""The codec of each protocol."""

from __future__ import annotations

from collections.abc import Iterable

from skylift.cloud.wire.aws_json import JsonCodec
from skylift.cloud.wire.codec import Codec
from skylift.cloud.wire.models import load
from skylift.cloud.wire.query import Ec2Codec, QueryCodec
from skylift.cloud.wire.rest_xml import RestXmlCodec


def codec_for(service: str, hosts: Iterable[str] = ("localhost",)) -> Codec:
    """A codec for `service`, chosen by the protocol that its model names. `hosts`: see RestXmlCodec."""
    model = load(service)
    match model.protocol:
        case "ec2":
            return Ec2Codec(model)
        case "query":
            return QueryCodec(model)
        case "rest-xml":
            return RestXmlCodec(model, hosts)
        case "json":
            return JsonCodec(model)
        case protocol:
            raise NotImplementedError(f"{service} speaks {protocol}, for which there is no codec")
