"""What a user can do about AWS's errors, by their codes; and which permission is missing after a denial.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from __future__ import annotations

import re

_QUOTA = "ask for more in the Service Quotas console"

ADVICE = {
    "AddressLimitExceeded": f"Release addresses that nobody uses, or {_QUOTA}.",
    "Blocked": "AWS has closed this account to EC2: its billing console or AWS Support say why.",
    "InstanceLimitExceeded": f"End other servers, or {_QUOTA}.",
    "InsufficientFreeAddressesInSubnet": "Its subnet is full: end other servers in it, or take another --subnet.",
    "InsufficientInstanceCapacity": "AWS has none of this type to give there right now: try another --type, or later.",
    "InternetGatewayLimitExceeded": f"Delete internet gateways that nobody uses, {_QUOTA}, or use a --subnet of yours.",
    "LimitExceeded": f"A quota of IAM is used up: `skylift ps --all` shows jobs to remove, or {_QUOTA}.",
    "MaxSpotInstanceCountExceeded": f"The quota of spot servers is used up: end others, or {_QUOTA}.",
    "OptInRequired": "This account has not opted in: enable the region, or accept the image's terms.",
    "PendingVerification": "AWS is still verifying this account, which takes up to four hours. Try again then.",
    "RequestLimitExceeded": "This account makes more calls than AWS allows just now. Try again in a minute.",
    "RulesPerSecurityGroupLimitExceeded": "Its group has let in too many addresses: remove old rules from it.",
    "SecurityGroupLimitExceeded": f"Delete security groups that nobody uses, or {_QUOTA}.",
    "TooManyBuckets": f"Delete buckets that nobody uses, or {_QUOTA}.",
    "Unsupported": "It is not to be had there: try another --type.",
    "VcpuLimitExceeded": f"Your quota of vCPUs is used up: end other servers, take a smaller --type, or {_QUOTA}.",
    "VpcLimitExceeded": f"Delete VPCs that nobody uses, {_QUOTA}, or use a --subnet of yours.",
}

_NAMED = re.compile(r"not authorized to perform: ([\w-]+:\w+)(?: on resource: (\S+))?")
_OTHER_NAMES = {
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListObjectsV2": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListParts": "ListMultipartUploadParts",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
}
"""The permissions of S3's operations that have another name than the operation."""


def about_denial(service: str, operation: str, message: str) -> str:
    """Advice after a denial. `operation` is named as in the API (`RunInstances`). When the message names no permission,
    the missing one is that of the operation itself."""
    named = _NAMED.search(message)
    action = named[1] if named else f"{service}:{_OTHER_NAMES.get(operation, operation)}"
    resource = f" on {named[2].rstrip('.,')}" if named and named[2] else ""
    if "explicit deny" in message:
        return f"A policy denies you {action}{resource}: only somebody who manages that policy can change it."
    return f"You lack the permission {action}{resource}. docs/iam.md has a policy that is enough."
