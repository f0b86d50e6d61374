"""AWS's own managed policies, as far as this cloud has them: their published documents, in `aws_policies.json`.

A line for each policy that EC2, S3, Auto Scaling and what goes with them is worked with. The source is the AWS managed
policy reference guide, of October 2026. Only the default version is there; earlier ones are not kept.
"""

from __future__ import annotations

import json
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from skylift.cloud.domain.identity import ManagedPolicy, PolicyVersion

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def _policy(entry: dict[str, Any]) -> ManagedPolicy:
    updated = datetime.fromisoformat(entry["updated"])
    version = entry["version"]
    return ManagedPolicy(
        arn=f"arn:aws:iam::aws:policy{entry['path']}{entry['name']}",
        name=entry["name"],
        id=_id(entry["name"]),
        path=entry["path"],
        created=datetime.fromisoformat(entry["created"]),
        updated=updated,
        versions={version: PolicyVersion(json.dumps(entry["document"], indent=4), updated)},
        default_version=version,
        latest=int(version[1:]),
    )


def _id(name: str) -> str:
    """Shaped as AWS's ids and always the same for one policy; AWS does not publish the real ones."""
    return "ANPA" + "".join(_ALPHABET[byte % 32] for byte in sha256(name.encode()).digest()[:17])


AWS_POLICIES: dict[str, ManagedPolicy] = {
    policy.arn: policy for policy in map(_policy, json.loads((Path(__file__).parent / "aws_policies.json").read_text()))
}
"""AWS's managed policies by ARN, sorted by name."""
