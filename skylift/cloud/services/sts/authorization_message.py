"""DecodeAuthorizationMessage: opens the sealed message of a denial by EC2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.denial_message import opened
from skylift.cloud.services.api.operation import Rows
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import sts


def decode(
    tx: Tx, _caller: Caller, params: sts.DecodeAuthorizationMessageRequest
) -> sts.DecodeAuthorizationMessageResponse:
    text = opened(tx, params["EncodedMessage"])
    if text is None:
        raise ServiceError(
            "InvalidAuthorizationMessageException",
            "Message is not valid: it was not made by this cloud, or not as a whole.",
            status=400,
        )
    return {"DecodedMessage": text}


OPERATIONS = (Rows("sts", "sts").reads("DecodeAuthorizationMessage", decode, "EncodedMessage"),)
