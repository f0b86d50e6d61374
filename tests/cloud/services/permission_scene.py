"""A user and a role whose policies a test sets, in a cloud that has one of everything that it asks about.

Questions are asked as the dispatcher asks them, of all services; nothing that was asked about is done.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ec2_fixtures import ACCOUNT, REGION, Cloud

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, Role, User
from skylift.cloud.domain.schedule import Invocation, Schedule, ScheduleGroup, Target
from skylift.cloud.services.api.authorize import authorize
from skylift.cloud.services.iam.identity import make_root_key
from skylift.cloud.services.scheduler.group import make_default_group
from skylift.cloud.services.table import TABLE
from skylift.cloud.wiring.schedule import Invoker

DENIALS = ("AccessDenied", "UnauthorizedOperation")
HERE = f"arn:aws:ec2:{REGION}:{ACCOUNT}:"
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def deny(action: Any, resource: Any = "*", **conditions: Any) -> dict[str, Any]:
    """`conditions` by operator: `StringEquals={"aws:ResourceTag/a": "b"}`."""
    return {"Effect": "Deny", "Action": action, "Resource": resource, "Condition": conditions}


class _TakenBack(Exception):
    pass


class Permissions:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        now = cloud.clock.now
        trust = json.dumps(
            {
                "Statement": [
                    {"Effect": "Allow", "Principal": {"Service": one}, "Action": "sts:AssumeRole"}
                    for one in ("scheduler.amazonaws.com", "ec2.amazonaws.com")
                ]
            }
        )
        self.user = User("someone", "AIDAEXAMPLE", f"arn:aws:iam::{ACCOUNT}:user/someone", "/", now)
        self.role = Role("acting", "AROAACTING", f"arn:aws:iam::{ACCOUNT}:role/acting", "/", trust, now)
        with cloud.database.write() as tx:
            make_root_key(tx)
            make_default_group(tx, ACCOUNT, REGION)
            tx.add(self.user)
            tx.add(self.role)
        self.caller = Caller(
            kind="user",
            account=ACCOUNT,
            region=REGION,
            arn=self.user.arn,
            user_id=self.user.id,
            access_key_id="AKIASOMEONE",
            source_ip="127.0.0.1",
            request_id="r",
            user="someone",
        )
        self.given()

    def given(self, *statements: dict[str, Any]) -> None:
        """The user and the role may do everything but what these say."""
        text = json.dumps({"Version": "2012-10-17", "Statement": [EVERYTHING, *statements]})
        with self.cloud.database.write() as tx:
            for holder in (tx.get(User, name="someone"), tx.get(Role, name="acting")):
                assert holder is not None
                tx.save(replace(holder, inline={"own": text}))

    def may(self, service: str, name: str, /, **params: Any) -> bool:
        """Whether the user may do this now."""
        operation = TABLE[service, name]
        assert operation.unsupported(params) == []
        with self.cloud.database.read() as tx:
            try:
                authorize(tx, self.caller, operation.checks(tx, self.caller, params), service=service)
            except ServiceError as error:
                assert error.code in DENIALS, error
                return False
        return True

    def root(self, service: str, name: str, /, **params: Any) -> Any:
        """Done, by the account's root."""
        operation = TABLE[service, name]
        with self.cloud.database.write() as tx:
            handlers = operation.prepared(tx, self.cloud.caller, params)
            return [handler(tx, self.cloud.caller, params) for handler in handlers][-1]

    def scheduled(self, target: str, **params: Any) -> bool:
        """Whether a schedule in the role would get this done: it is done, and taken back."""
        now = self.cloud.clock.now
        arn = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/one"
        aim = Target(f"arn:aws:scheduler:::aws-sdk:ec2:{target}", self.role.arn, json.dumps(params))
        schedule = Schedule(
            *("default", "one", arn, "rate(1 day)", "UTC", None, None, None, "ENABLED", aim, None, "NONE"),
            *(now, now, now, now + timedelta(days=1)),
        )
        invocation = Invocation("execution", "default", "one", now, now)
        try:
            with self.cloud.database.write() as tx:
                assert tx.get(ScheduleGroup, name="default")
                Invoker(ACCOUNT, REGION).invoke(tx, schedule, invocation)
                raise _TakenBack
        except ServiceError as error:
            assert error.code in DENIALS, error
            return False
        except _TakenBack:
            return True
