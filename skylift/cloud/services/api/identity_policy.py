"""What IAM demands of an identity policy when it is written, beyond what is needed to read it.

Kept documents are not checked again. The words are AWS's, as a test suite that was compared with AWS has them:
https://github.com/getmoto/moto/blob/master/tests/test_iam/test_iam_policies.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from skylift.cloud.services.api.policy_document import VERSIONS, PolicyDocument, malformed, parse_policy

PARTITIONS = re.compile(r"aws(-[a-z]+)*")
IAM_TYPES = (
    "user/",
    "federated-user/",
    "role/",
    "group/",
    "instance-profile/",
    "mfa/",
    "server-certificate/",
    "policy/",
    "sms-mfa/",
    "saml-provider/",
    "oidc-provider/",
    "report/",
    "access-report/",
)


def checked_identity_policy(text: str) -> PolicyDocument:
    """The document of an inline policy. Raises MalformedPolicyDocument."""
    document = parse_policy(text)
    for resource in _resources(text):
        _check_resource(resource)
    return document


def checked_managed_policy(text: str) -> PolicyDocument:
    """The same for a managed policy, which has to name its version."""
    document = checked_identity_policy(text)
    if document.version != VERSIONS[-1]:
        malformed(f"Policy document must be version {VERSIONS[-1]} or greater.")
    return document


def _resources(text: str) -> Iterator[str]:
    statements = json.loads(text)["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        for element in ("Resource", "NotResource"):
            yield from _listed(statement.get(element, []))


def _listed(given: Any) -> list[str]:
    return given if isinstance(given, list) else [given]


def _check_resource(resource: str) -> None:
    """The parts that an ARN has may be patterns; those that it must not have may not."""
    if resource == "*":
        return
    _, partition, *rest = resource.split(":", 5)
    if partition != "*" and not PARTITIONS.fullmatch(partition):
        shown = ":".join(part or "*" for part in (*rest, *[""] * (4 - len(rest))))
        malformed(f'Partition "{partition}" is not valid for resource "arn:{partition}:{shown}".')
    if not rest:
        malformed("Resource vendor must be fully qualified and cannot contain regexes.")
    if not rest[0] or ("::" in resource and len(rest) < 4):
        malformed(f"The policy failed legacy parsing: {resource} lacks parts of an ARN.")
    if len(rest) < 4:
        return
    vendor, region, account, path = rest
    if vendor == "iam":
        _check_iam(resource, region, path)
    if vendor == "s3" and region and not account:
        malformed(f"Resource {resource} can not contain region information.")


def _check_iam(resource: str, region: str, path: str) -> None:
    if region:
        malformed(f"IAM resource {resource} cannot contain region information.")
    kind = path.partition("/")[0]
    if not any(mark in kind for mark in "*?$") and not path.startswith(IAM_TYPES):
        malformed(f'IAM resource path must either be "*" or start with {", ".join(IAM_TYPES)}.')
