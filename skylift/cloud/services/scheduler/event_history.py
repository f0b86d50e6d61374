"""CloudTrail's event history. It has the calls of EventBridge Scheduler that were refused, and no others.

https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.schedule import Invocation, RefusedCall, Schedule
from skylift.cloud.services.api.operation import Rows
from skylift.cloud.services.api.page_token import leads_to, read_token
from skylift.cloud.services.scheduler import target
from skylift.cloud.store.database import Tx
from skylift.cloud.store.schedule import refused_calls

if TYPE_CHECKING:
    from aws_shapes import cloudtrail

MOST_LISTED = 50


def refused_call(
    tx: Tx, schedule: Schedule, invocation: Invocation, error: ServiceError, *, account: str, region: str
) -> RefusedCall:
    """Of the request, the event has the client token. Where EventBridge Scheduler may not assume the role, that is what
    was refused."""
    service, name = target.operation_of(schedule.target)
    arn, principal = schedule.target.role_arn, target.PRINCIPAL
    request = target.request_of(target.filled_in(schedule.target.input or "{}", schedule, invocation))
    session = {"sessionIssuer": {"type": "Role", "arn": arn, "userName": arn.rpartition("/")[2]}}
    own: dict[str, Any] = {"type": "AssumedRole", "sessionContext": session, "invokedBy": principal}
    asked = {"clientToken": request.get("ClientToken")}
    if target.role_of(tx, schedule, account) is None:
        service, name, own = "sts", "AssumeRole", {"type": "AWSService", "invokedBy": principal}
        asked = {"roleArn": arn, "roleSessionName": invocation.id}
    event = str(uuid4())
    record = {
        "eventVersion": "1.11",
        "userIdentity": own,
        "eventTime": f"{tx.now:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": principal,
        "userAgent": principal,
        "errorCode": error.code,
        "errorMessage": error.message,
        "requestParameters": asked,
        "eventID": event,
        "eventType": "AwsApiCall",
        "recipientAccountId": account,
    }
    return RefusedCall(event, tx.now, name, arn, json.dumps(record))


def lookup(tx: Tx, _caller: Caller, params: cloudtrail.LookupEventsRequest) -> cloudtrail.LookupEventsResponse:
    """The newest first."""
    given = {each["AttributeKey"]: each["AttributeValue"] for each in params.get("LookupAttributes") or []}
    if len(given) > 1 or not given.keys() <= {"EventName", "ResourceName"}:
        raise ServiceError("InvalidLookupAttributesException", "Here, EventName or ResourceName can be looked up.")
    after = read_token(params.get("NextToken"), ServiceError("InvalidNextTokenException", "Invalid NextToken."))
    most = params.get("MaxResults", MOST_LISTED)
    between = (params.get("StartTime"), params.get("EndTime"))
    found = refused_calls(tx, given.get("EventName"), given.get("ResourceName"), between, int(after or 0), most + 1)
    more = leads_to(str(int(after or 0) + most)) if len(found) > most else {}
    return {"Events": [_view(each) for each in found[:most]], **more}


def _view(call: RefusedCall) -> cloudtrail.Event:
    return {
        "EventId": call.id,
        "EventName": call.name,
        "EventTime": call.at,
        "EventSource": json.loads(call.record)["eventSource"],
        "Resources": [{"ResourceType": "AWS::IAM::Role", "ResourceName": call.role_arn}],
        "CloudTrailEvent": call.record,
    }


OPERATIONS = (
    Rows("cloudtrail", "cloudtrail").reads(
        "LookupEvents",
        lookup,
        "LookupAttributes.AttributeKey LookupAttributes.AttributeValue StartTime EndTime MaxResults NextToken",
    ),
)
