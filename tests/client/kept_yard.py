"""An account of moto's with servers that jobs have left up."""

from __future__ import annotations

import json
import time
from typing import Any

from skylift.client.job.record import JobKeys
from skylift.client.job.tags import TAG_CONFIGURATION, job_tags
from skylift.client.launch import kept_server as warm
from skylift.client.launch import role
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.key import ensure_key
from skylift.client.remote.account import Account


class Yard:
    """Servers that jobs have left up."""

    def __init__(self, account: Account) -> None:
        self.account, self.api, self.now = account, account.api, time.time()
        ensure_bucket(self.api, account.bucket)
        self.key = ensure_key(self.api, account.settings.key_dir, account.number)

    def keep(self, job: str, *, key: str = "", until: float = 600, **status: Any) -> str:
        role.create_role(self.api, job, self.account.number)
        made = role.equip_role(self.api, job, self.account.bucket, self.account.number)
        tags = [*job_tags(job), {"Key": TAG_CONFIGURATION, "Value": "fit"}]
        instances = self.api.call(
            "ec2",
            "run_instances",
            ImageId=self.api.call("ec2", "describe_images", Owners=["amazon"])["Images"][0]["ImageId"],
            InstanceType="t3.small",
            MinCount=1,
            MaxCount=1,
            KeyName=key or self.key.name,
            IamInstanceProfile={"Arn": made.profile_arn},
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )["Instances"]
        record = {"created": self.now, "deadline": self.now + 7200}
        told = {"state": "succeeded", "final": True, "kept_until": self.now + until, **status}
        self.api.put(self.account.bucket, JobKeys(job).record, json.dumps(record).encode())
        self.api.put(self.account.bucket, JobKeys(job).status, json.dumps(told).encode())
        return str(instances[0]["InstanceId"])

    def waiting(self) -> list[warm.KeptServer]:
        return warm.waiting_servers(self.account, warm.kept_servers(self.api), self.now)

    def roles(self) -> list[str]:
        return [each["RoleName"] for each in self.api.pages("iam", "list_roles", "Roles", PathPrefix=role.PATH)]
