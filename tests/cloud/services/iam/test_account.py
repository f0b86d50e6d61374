from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from identity_fixtures import ACCOUNT, EC2_TRUST, Account, allow, deny, model, policy, refused

S3_READ = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


def simulate(account: Account, principal: str, actions: list[str], **params: Any) -> list[dict[str, Any]]:
    answer = account.iam("SimulatePrincipalPolicy", PolicySourceArn=principal, ActionNames=actions, **params)
    results: list[dict[str, Any]] = answer["EvaluationResults"]
    return results


def decisions(results: list[dict[str, Any]]) -> list[str]:
    return [result["EvalDecision"] for result in results]


def test_the_summary_counts(account: Account) -> None:
    before = account.iam("GetAccountSummary")["SummaryMap"]
    keys = model("iam").shape_for("summaryKeyType").enum
    assert set(before) <= set(keys)
    account.user("ann")
    account.iam("CreateGroup", GroupName="g")
    account.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=EC2_TRUST)
    account.iam("CreateInstanceProfile", InstanceProfileName="p")
    arn = account.iam("CreatePolicy", PolicyName="p", PolicyDocument=policy(allow("s3:*")))["Policy"]["Arn"]
    account.iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=policy(allow("s3:Get*")))
    after = account.iam("GetAccountSummary")["SummaryMap"]
    changed = {key: after[key] - before[key] for key in after if after[key] != before[key]}
    assert changed == {
        "Users": 1,
        "Groups": 1,
        "Roles": 1,
        "InstanceProfiles": 1,
        "Policies": 1,
        "PolicyVersionsInUse": 2,
    }
    with refused("AccessDenied", "iam:GetAccountSummary"):
        account.iam("GetAccountSummary", caller=account.user("bob"))


def test_authorization_details(account: Account) -> None:
    account.user("ann", allow("s3:*"), Tags=[{"Key": "k", "Value": "v"}], PermissionsBoundary=S3_READ)
    account.iam("CreateGroup", GroupName="g")
    account.iam("AddUserToGroup", GroupName="g", UserName="ann")
    account.iam("AttachGroupPolicy", GroupName="g", PolicyArn=S3_READ)
    account.role("r", allow("ec2:*"))
    account.iam("CreateInstanceProfile", InstanceProfileName="p")
    account.iam("AddRoleToInstanceProfile", InstanceProfileName="p", RoleName="r")
    account.iam("CreatePolicy", PolicyName="own", PolicyDocument=policy(allow("s3:*")))
    everything = account.iam("GetAccountAuthorizationDetails", MaxItems=1000)
    (user,) = everything["UserDetailList"]
    assert user["GroupList"] == ["g"] and user["PermissionsBoundary"]["PermissionsBoundaryArn"] == S3_READ
    assert json.loads(unquote(user["UserPolicyList"][0]["PolicyDocument"])) == json.loads(policy(allow("s3:*")))
    (group,) = everything["GroupDetailList"]
    assert group["AttachedManagedPolicies"] == [{"PolicyName": "AmazonS3ReadOnlyAccess", "PolicyArn": S3_READ}]
    (role,) = everything["RoleDetailList"]
    assert [profile["InstanceProfileName"] for profile in role["InstanceProfileList"]] == ["p"]
    found = {one["PolicyName"]: one for one in everything["Policies"]}
    assert found["AmazonS3ReadOnlyAccess"]["AttachmentCount"] == 1
    assert found["own"]["PolicyVersionList"][0]["IsDefaultVersion"]
    local = account.iam("GetAccountAuthorizationDetails", Filter=["LocalManagedPolicy", "Role"])
    assert [one["PolicyName"] for one in local["Policies"]] == ["own"]
    assert (local["UserDetailList"], len(local["RoleDetailList"])) == ([], 1)


def test_pages_of_authorization_details(account: Account) -> None:
    for number in range(3):
        account.iam("CreateUser", UserName=f"u{number}")
        account.iam("CreateGroup", GroupName=f"g{number}")
    seen, marker = [], {}
    while True:
        answer = account.iam("GetAccountAuthorizationDetails", Filter=["User", "Group"], MaxItems=2, **marker)
        seen += [one["UserName"] for one in answer["UserDetailList"]]
        seen += [one["GroupName"] for one in answer["GroupDetailList"]]
        if not answer["IsTruncated"]:
            break
        marker = {"Marker": answer["Marker"]}
    assert sorted(seen) == ["g0", "g1", "g2", "u0", "u1", "u2"]


def test_the_simulator_decides_as_requests_are_decided(account: Account) -> None:
    caller = account.user("ann", allow("s3:Get*", "arn:aws:s3:::b/${aws:username}/*"), deny("s3:GetObjectAcl"))
    account.iam("CreateGroup", GroupName="g")
    account.iam("AddUserToGroup", GroupName="g", UserName="ann")
    account.iam("AttachGroupPolicy", GroupName="g", PolicyArn="arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess")
    results = simulate(
        account,
        caller.arn,
        ["s3:GetObject", "s3:GetObjectAcl", "s3:PutObject", "ec2:DescribeVpcs"],
        ResourceArns=["arn:aws:s3:::b/ann/x"],
    )
    assert decisions(results) == ["allowed", "explicitDeny", "implicitDeny", "allowed"]
    first = json.dumps(allow("s3:Get*", "arn:aws:s3:::b/${aws:username}/*"))
    begin = len('{"Version": "2012-10-17", "Statement": [') + 1
    assert results[0]["MatchedStatements"] == [
        {
            "SourcePolicyId": "user_ann_own",
            "SourcePolicyType": "IAM Policy",
            "StartPosition": {"Line": 1, "Column": begin},
            "EndPosition": {"Line": 1, "Column": begin + len(first)},
        }
    ]
    (second,) = results[1]["MatchedStatements"]
    assert second["StartPosition"] == {"Line": 1, "Column": begin + len(first)}
    assert results[2]["MatchedStatements"] == []
    assert results[3]["MatchedStatements"][0]["SourcePolicyId"] == "AmazonEC2ReadOnlyAccess"


def test_the_simulator_says_what_it_was_not_told(account: Account) -> None:
    condition = {"StringEquals": {"ec2:InstanceType": "t3.micro"}}
    caller = account.user("ann", allow("ec2:RunInstances", Condition=condition))
    (result,) = simulate(account, caller.arn, ["ec2:RunInstances"])
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("implicitDeny", ["ec2:instancetype"])
    entry = {"ContextKeyName": "ec2:InstanceType", "ContextKeyValues": ["t3.micro"], "ContextKeyType": "string"}
    (result,) = simulate(account, caller.arn, ["ec2:RunInstances"], ContextEntries=[entry])
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("allowed", [])


def test_the_simulator_knows_boundaries(account: Account) -> None:
    caller = account.user("ann", allow("*"), PermissionsBoundary=S3_READ)
    s3, ec2 = simulate(account, caller.arn, ["s3:GetObject", "ec2:RunInstances"])
    assert decisions([s3, ec2]) == ["allowed", "implicitDeny"]
    assert ec2["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    given = [policy(allow("ec2:*"))]
    results = simulate(account, caller.arn, ["ec2:RunInstances"], PermissionsBoundaryPolicyInputList=given)
    assert decisions(results) == ["allowed"]
    denying = [policy(allow("*"), deny("ec2:*"))]
    (result,) = simulate(account, caller.arn, ["ec2:RunInstances"], PermissionsBoundaryPolicyInputList=denying)
    assert result["EvalDecision"] == "explicitDeny"
    matched = [(one["SourcePolicyId"], one["SourcePolicyType"]) for one in result["MatchedStatements"]]
    assert matched == [
        ("user_ann_own", "IAM Policy"),
        ("PermissionsBoundaryPolicyInputList.1", "Permissions Boundary Policy"),
    ]


def test_documents_alone(account: Account) -> None:
    document = policy(allow("s3:GetObject", "arn:aws:s3:::b/*"))
    answer = account.iam(
        "SimulateCustomPolicy",
        PolicyInputList=[document],
        ActionNames=["s3:GetObject"],
        ResourceArns=["arn:aws:s3:::b/k", "arn:aws:s3:::c/k"],
        MaxItems=1,
    )
    assert decisions(answer["EvaluationResults"]) == ["allowed"] and answer["IsTruncated"]
    with refused("NoSuchEntity"):
        simulate(account, f"arn:aws:iam::{ACCOUNT}:user/nobody", ["s3:GetObject"])


@pytest.mark.parametrize("given", [["{"], [policy(allow("s3:*"), allow("ec2"))]])
def test_bad_documents(account: Account, given: list[str]) -> None:
    with refused("MalformedPolicyDocument"):
        account.iam("SimulateCustomPolicy", PolicyInputList=given, ActionNames=["s3:GetObject"])


def test_which_keys_policies_ask_for(account: Account) -> None:
    tags = {"StringEquals": {"aws:ResourceTag/team": "red"}, "Bool": {"aws:SecureTransport": "true"}}
    account.user("ann", allow("ec2:*", Condition=tags))
    given = policy(allow("s3:ListBucket", Condition={"StringLike": {"s3:prefix": "ann/*"}}))
    alone = account.iam("GetContextKeysForCustomPolicy", PolicyInputList=[given])
    assert alone == {"ContextKeyNames": ["s3:prefix"]}
    source = f"arn:aws:iam::{ACCOUNT}:user/ann"
    both = account.iam("GetContextKeysForPrincipalPolicy", PolicySourceArn=source, PolicyInputList=[given])
    assert both == {"ContextKeyNames": ["aws:resourcetag/team", "aws:securetransport", "s3:prefix"]}
    with refused("NoSuchEntity"):
        account.iam("GetContextKeysForPrincipalPolicy", PolicySourceArn=source + "2")
