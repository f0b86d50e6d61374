"""What the ACLs of S3 let everybody do, as statements of a policy that stands on the bucket or object.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html ("Mapping of ACL permissions and access policy
permissions"). A version of an object that is asked for by its id is not opened by an ACL here.
"""

from __future__ import annotations

from skylift.cloud.domain.bucket import ENFORCED, AclGrant, Bucket
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.pattern import pattern
from skylift.cloud.services.api.policy_document import PolicyDocument, Principals, Statement
from skylift.cloud.store.bucket import current
from skylift.cloud.store.database import Tx

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"

ON_BUCKET = {
    "s3:ListBucket": "READ",
    "s3:ListBucketVersions": "READ",
    "s3:ListBucketMultipartUploads": "READ",
    "s3:PutObject": "WRITE",
    "s3:GetBucketAcl": "READ_ACP",
    "s3:PutBucketAcl": "WRITE_ACP",
}
ON_OBJECT = {"s3:GetObject": "READ", "s3:GetObjectAcl": "READ_ACP", "s3:PutObjectAcl": "WRITE_ACP"}


def is_public(acl: tuple[AclGrant, ...] | None) -> bool:
    """Whether it grants anything to everybody, or to everybody with an account."""
    return any(grant.grantee in (ALL_USERS, AUTHENTICATED_USERS) for grant in acl or ())


def by_acl(tx: Tx, caller: Caller, action: str, bucket_name: str, key: str) -> tuple[PolicyDocument, ...]:
    """The statement that an ACL is worth to the caller for this action; none where it grants nothing, where the bucket
    has ACLs disabled, or ignores public ones."""
    permission = ON_BUCKET.get(action) or ON_OBJECT.get(action)
    if permission is None:
        return ()
    bucket = tx.get(Bucket, name=bucket_name)
    if bucket is None or bucket.ownership == ENFORCED:
        return ()
    if bucket.public_access is not None and bucket.public_access.ignore_acls:
        return ()
    acl = bucket.acl
    if action in ON_OBJECT:
        found = current(tx, bucket_name, key)
        acl = found.acl if found is not None else None
    groups = (ALL_USERS,) if caller.kind == "anonymous" else (ALL_USERS, AUTHENTICATED_USERS)
    granted = {grant.permission for grant in acl or () if grant.grantee in groups}
    return (_allowing(action),) if granted & {permission, "FULL_CONTROL"} else ()


def _allowing(action: str) -> PolicyDocument:
    everything = pattern("*", variables=False)
    statement = Statement(
        sid="",
        allows=True,
        actions=(pattern(action.lower(), variables=False),),
        not_actions=None,
        resources=(everything,),
        not_resources=None,
        principals=Principals(aws=("*",)),
        not_principals=None,
        conditions=(),
    )
    return PolicyDocument("2012-10-17", (statement,))
