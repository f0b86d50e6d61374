"""Access control lists of buckets and objects: as a request gives them, and as answers show them.

There is one account here, so that a list may grant something to it, to everybody, to everybody who signs, or to S3's
log delivery, which is not here. `api/acl_policy.py` says what a grant lets one do.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html; words of refusals by
https://github.com/localstack/localstack/blob/main/tests/aws/services/s3/test_s3.snapshot.json (test_s3_bucket_acl,
test_s3_object_acl and their exceptions)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast

from skylift.cloud.domain.bucket import ENFORCED, AclGrant, Bucket
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.acl_policy import ALL_USERS, AUTHENTICATED_USERS, is_public
from skylift.cloud.services.s3.error import invalid_argument, invalid_request, not_implemented
from skylift.cloud.services.s3.rules import canonical_id, owner

if TYPE_CHECKING:
    from aws_shapes import s3

LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
MOST_GRANTS = 100

_EXEC_READ = "aws-exec-read"
_GROUPS = (ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY)
_PERMISSIONS = ("FULL_CONTROL", "READ", "READ_ACP", "WRITE", "WRITE_ACP")
_HEADERS = {
    "GrantFullControl": ("x-amz-grant-full-control", "FULL_CONTROL"),
    "GrantRead": ("x-amz-grant-read", "READ"),
    "GrantReadACP": ("x-amz-grant-read-acp", "READ_ACP"),
    "GrantWrite": ("x-amz-grant-write", "WRITE"),
    "GrantWriteACP": ("x-amz-grant-write-acp", "WRITE_ACP"),
}
_CANNED = {
    "private": (),
    "public-read": (AclGrant(ALL_USERS, "READ"),),
    "public-read-write": (AclGrant(ALL_USERS, "READ"), AclGrant(ALL_USERS, "WRITE")),
    "authenticated-read": (AclGrant(AUTHENTICATED_USERS, "READ"),),
    # The bucket's owner is the object's.
    "bucket-owner-read": (),
    "bucket-owner-full-control": (),
    # Not here: refused where ACLs count.
    _EXEC_READ: (),
    "log-delivery-write": (AclGrant(LOG_DELIVERY, "WRITE"), AclGrant(LOG_DELIVERY, "READ_ACP")),
}
_ELEMENTS = {
    "CanonicalUser": ("ID", "id"),
    "Group": ("URI", "uri"),
    "AmazonCustomerByEmail": ("EmailAddress", "emailAddress"),
}
"""Of each type of grantee in a document: the member that names one, and what headers call it."""
_LISTED_GRANTEE = re.compile(r'\s*(\w+)\s*=\s*(?:"([^"]*)"|([^",\s]*))\s*')

Acl = tuple[AclGrant, ...] | None
"""None is what a new bucket or object has: its owner has full control, and nobody else has any."""


class Shown(TypedDict):
    Owner: s3.Owner
    Grants: list[s3.Grant]


def shown(bucket: Bucket, acl: Acl) -> Shown:
    """The ACL of the bucket or of an object in it. Where ACLs are disabled, an older one is kept and does not count."""
    grants = (_own(bucket.owner),) if acl is None or bucket.ownership == ENFORCED else acl
    return {"Owner": owner(bucket.owner), "Grants": [_shown(grant) for grant in grants]}


def asked(params: Mapping[str, Any]) -> bool:
    """Whether a request names an ACL besides the one that a new object has anyhow."""
    return "ACL" in params or _has_grants(params)


def is_private(params: Mapping[str, Any]) -> bool:
    """Whether a request names no ACL besides the one that a new bucket has anyhow."""
    return params.get("ACL", "private") == "private" and not _has_grants(params)


def acl_of(caller: Caller, bucket: Bucket, params: Mapping[str, Any], *, new: bool) -> Acl:
    """The ACL that a request gives a bucket or object. `new` is for what it makes, which needs none.

    Raises AccessControlListNotSupported where the bucket has ACLs disabled, and AccessDenied for a public ACL where
    the bucket blocks these. What is no ACL at all is refused as such first, as recorded on AWS.
    """
    acl = _parsed(bucket.owner, params, new=new)
    if bucket.ownership == ENFORCED and not (new and _is_owners_alone(params)):
        raise ServiceError("AccessControlListNotSupported", "The bucket does not allow ACLs", status=400)
    if params.get("ACL") == _EXEC_READ:
        raise not_implemented("x-amz-acl", _EXEC_READ)
    if bucket.public_access is not None and bucket.public_access.block_acls and is_public(acl):
        raise ServiceError(
            "AccessDenied",
            f"User: {caller.arn} is not authorized to put a public ACL on bucket {bucket.name} or an object in it, "
            "because public access control lists (ACLs) are prevented by the BlockPublicAcls setting in S3 Block "
            "Public Access.",
            status=403,
        )
    return acl


def acls_disabled() -> ServiceError:
    return ServiceError(
        "InvalidBucketAclWithObjectOwnership",
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        status=400,
    )


def _is_owners_alone(params: Mapping[str, Any]) -> bool:
    """What an object of a bucket without ACLs may be given: nothing, or all to the bucket's owner."""
    return params.get("ACL") in (None, "bucket-owner-full-control") and not _has_grants(params)


def _has_grants(params: Mapping[str, Any]) -> bool:
    return any(name in params for name in _HEADERS)


def _parsed(account: str, params: Mapping[str, Any], *, new: bool) -> Acl:
    canned, headers = params.get("ACL"), [name for name in _HEADERS if name in params]
    if canned is not None and headers:
        raise invalid_request("Specifying both Canned ACLs and Header Grants is not allowed")
    document = params.get("AccessControlPolicy")
    if document is not None and (canned is not None or headers):
        raise ServiceError("UnexpectedContent", "This request does not support content", status=400)
    if canned is not None:
        if canned not in _CANNED:
            raise invalid_argument("x-amz-acl", canned, "")
        return _normal(account, (_own(account), *_CANNED[canned]))
    if headers:
        return _normal(account, tuple(grant for name in headers for grant in _from_header(account, name, params[name])))
    if document is not None:
        return _normal(account, tuple(_from_document(account, document)))
    if new:
        return None
    raise ServiceError(
        "MissingSecurityHeader", "Your request was missing a required header", status=400, MissingHeaderName="x-amz-acl"
    )


def _from_header(account: str, name: str, text: str) -> Iterator[AclGrant]:
    """Grantees as `id="...", uri="..."`."""
    header, permission = _HEADERS[name]
    for part in text.split(","):
        found = _LISTED_GRANTEE.fullmatch(part)
        if found is None or found[1] not in ("id", "uri", "emailAddress"):
            raise invalid_argument(header, text, "Argument format not recognized")
        yield AclGrant(_grantee(account, found[1], found[2] or found[3] or "", found[1]), permission)


def _from_document(account: str, document: s3.AccessControlPolicy) -> Iterator[AclGrant]:
    """`document` has AccessControlList as its member Grants."""
    owner_id = document.get("Owner", {}).get("ID")
    if owner_id is None or "Grants" not in document:
        raise _malformed()
    if owner_id != canonical_id(account):
        raise invalid_argument("CanonicalUser/ID", owner_id, "Invalid id")
    if len(document["Grants"]) > MOST_GRANTS:
        raise _malformed()
    for grant in document["Grants"]:
        grantee, permission = grant.get("Grantee"), grant.get("Permission")
        if grantee is None or permission not in _PERMISSIONS:
            raise _malformed()
        yield AclGrant(_from_element(account, cast("dict[str, str]", grantee)), permission)


def _from_element(account: str, grantee: Mapping[str, str]) -> str:
    type_name = grantee.get("Type", "")
    member, kind = _ELEMENTS.get(type_name, ("", ""))
    if member not in grantee:
        raise _malformed()
    return _grantee(account, kind, grantee[member], f"{type_name}/{member}")


def _grantee(account: str, kind: str, value: str, argument: str) -> str:
    if kind == "id":
        if value != canonical_id(account):
            raise invalid_argument(argument, value, "Invalid id")
    elif kind == "uri":
        if value not in _GROUPS:
            raise invalid_argument(argument, value, "Invalid group uri")
    else:
        raise ServiceError(
            "UnresolvableGrantByEmailAddress",
            "The e-mail address you provided does not match any account on record.",
            status=400,
        )
    return value


def _normal(account: str, grants: tuple[AclGrant, ...]) -> Acl:
    return None if grants == (_own(account),) else grants


def _own(account: str) -> AclGrant:
    return AclGrant(canonical_id(account), "FULL_CONTROL")


def _shown(grant: AclGrant) -> s3.Grant:
    group = grant.grantee in _GROUPS
    grantee: s3.Grantee = (
        {"Type": "Group", "URI": grant.grantee} if group else {"ID": grant.grantee, "Type": "CanonicalUser"}
    )
    return {"Grantee": grantee, "Permission": cast("Any", grant.permission)}


def _malformed() -> ServiceError:
    return ServiceError(
        "MalformedACLError",
        "The XML you provided was not well-formed or did not validate against our published schema",
        status=400,
    )
