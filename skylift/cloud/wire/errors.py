"""ServiceError to the wire, once: AWS's HTTP status for a code, and each protocol's own words for a failed signature.

`error_status.csv` has the statuses by protocol. Its sources: the EC2 "Error codes" page, the "Common Errors" page of
the IAM and STS references, and S3's "Error responses". The models have the statuses of codes that they declare. The
JSON services answer 400 also where others answer 403.

Keys and signatures are checked in one place, which speaks S3's detailed vocabulary. EC2 and the query services have
fewer words for it: `error_words.csv` has them. A row without a message keeps the error's message.
"""

from __future__ import annotations

import csv
from pathlib import Path

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.models import ServiceModel


def _rows(name: str) -> list[dict[str, str]]:
    with Path(__file__).with_name(name).open(newline="") as file:
        return list(csv.DictReader(file))


_STATUS = {(each["code"], of): int(each[of]) for each in _rows("error_status.csv") for of in each if each[of].isdigit()}
"""By code and protocol."""
_WORDS = {(each["code"], each["protocol"]): (each["word"], each["message"]) for each in _rows("error_words.csv")}
_WORDS_OF = {"rest-json": "json"}
"""Protocols that use the words of another one."""


def worded(service: ServiceModel, error: ServiceError) -> ServiceError:
    """The error in the words of the service's protocol."""
    spoken = _vocabulary(service)
    code, message = _WORDS.get((error.code, _WORDS_OF.get(spoken, spoken)), (error.code, ""))
    return ServiceError(code, message or error.message, status=error.status, headers=error.headers, **error.detail)


def status_of(service: ServiceModel, error: ServiceError) -> int:
    """The HTTP status: what the error itself says, else AWS's for the code, else the model's, else 400 (404 for S3's
    NoSuchThing codes)."""
    if error.status is not None:
        return 400 if _vocabulary(service) == "json" and error.status == 403 else error.status
    listed = _STATUS.get((error.code, _vocabulary(service)))
    if listed is not None:
        return listed
    modelled = service.errors.get(error.code)
    if modelled is not None:
        return modelled.status
    return 404 if service.protocol == "rest-xml" and error.code.startswith("NoSuch") else 400


def _vocabulary(service: ServiceModel) -> str:
    return "query" if service.speaks_as_query else service.protocol
