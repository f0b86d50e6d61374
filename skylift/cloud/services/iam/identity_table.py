"""Every operation of IAM and STS that this cloud carries out."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Handler, Operation
from skylift.cloud.services.iam import (
    access_key,
    account,
    account_alias,
    credential_report,
    empty_listings,
    group,
    instance_profile,
    login_profile,
    mfa_device,
    password_policy,
    policy,
    role,
    service_linked_role,
    simulation,
    user,
)
from skylift.cloud.services.iam.entity_policy import (
    GROUP_POLICIES,
    ROLE_BOUNDARY,
    ROLE_POLICIES,
    USER_BOUNDARY,
    USER_POLICIES,
)
from skylift.cloud.services.iam.role import Checks
from skylift.cloud.services.sts import authorization_message, session

PAGES = "Marker MaxItems"


def _reads(service: str, name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return Operation(service, name, handler, frozenset(takes.split()), checks, writes=False)


def _writes(service: str, name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return Operation(service, name, handler, frozenset(takes.split()), checks, writes=True)


def _on_role(name: str, handler: Handler, takes: str = "", *, writes: bool) -> Operation:
    return Operation("iam", name, handler, frozenset(["RoleName", *takes.split()]), role.check(name), writes)


def _on_user(name: str, handler: Handler, takes: str = "", *, writes: bool) -> Operation:
    return Operation("iam", name, handler, frozenset(["UserName", *takes.split()]), user.check(name), writes)


def _on_group(name: str, handler: Handler, takes: str = "", *, writes: bool) -> Operation:
    return Operation("iam", name, handler, frozenset(["GroupName", *takes.split()]), group.check(name), writes)


def _on_profile(name: str, handler: Handler, takes: str = "", *, writes: bool) -> Operation:
    honoured = frozenset(["InstanceProfileName", *takes.split()])
    return Operation("iam", name, handler, honoured, instance_profile.check(name), writes)


def _on_device(name: str, handler: Handler, takes: str, *, writes: bool) -> Operation:
    return Operation("iam", name, handler, frozenset(takes.split()), mfa_device.check(name), writes)


def _on_policy(name: str, handler: Handler, takes: str = "", *, writes: bool) -> Operation:
    return Operation("iam", name, handler, frozenset(["PolicyArn", *takes.split()]), policy.check(name), writes)


ROLES = (
    _writes(
        "iam",
        "CreateRole",
        role.create,
        "Path RoleName AssumeRolePolicyDocument Description MaxSessionDuration PermissionsBoundary Tags",
        role.check_create,
    ),
    _reads("iam", "ListRoles", role.list_all, f"PathPrefix {PAGES}", role.check_list),
    _on_role("GetRole", role.get, writes=False),
    _on_role("DeleteRole", role.delete, writes=True),
    _on_role("UpdateRole", role.update, "Description MaxSessionDuration", writes=True),
    _on_role("UpdateRoleDescription", role.update_description, "Description", writes=True),
    _on_role("UpdateAssumeRolePolicy", role.update_trust, "PolicyDocument", writes=True),
    _on_role("TagRole", role.tag, "Tags", writes=True),
    _on_role("UntagRole", role.untag, "TagKeys", writes=True),
    _on_role("ListRoleTags", role.list_tags, PAGES, writes=False),
    _on_role("PutRolePolicy", ROLE_POLICIES.put, "PolicyName PolicyDocument", writes=True),
    _on_role("GetRolePolicy", ROLE_POLICIES.get, "PolicyName", writes=False),
    _on_role("ListRolePolicies", ROLE_POLICIES.list_all, PAGES, writes=False),
    _on_role("DeleteRolePolicy", ROLE_POLICIES.delete, "PolicyName", writes=True),
    _on_role("AttachRolePolicy", ROLE_POLICIES.attach, "PolicyArn", writes=True),
    _on_role("DetachRolePolicy", ROLE_POLICIES.detach, "PolicyArn", writes=True),
    _on_role("ListAttachedRolePolicies", ROLE_POLICIES.list_attached, f"PathPrefix {PAGES}", writes=False),
    _on_role("PutRolePermissionsBoundary", ROLE_BOUNDARY.put, "PermissionsBoundary", writes=True),
    _on_role("DeleteRolePermissionsBoundary", ROLE_BOUNDARY.delete, writes=True),
)

SERVICE_LINKED_ROLES = (
    _writes(
        "iam",
        "CreateServiceLinkedRole",
        service_linked_role.create,
        "AWSServiceName Description CustomSuffix",
        service_linked_role.check_create,
    ),
    _on_role("DeleteServiceLinkedRole", service_linked_role.delete, writes=True),
    _reads(
        "iam",
        "GetServiceLinkedRoleDeletionStatus",
        service_linked_role.deletion_status,
        "DeletionTaskId",
        service_linked_role.check_status,
    ),
)

INSTANCE_PROFILES = (
    _writes(
        "iam",
        "CreateInstanceProfile",
        instance_profile.create,
        "InstanceProfileName Path Tags",
        instance_profile.check_create,
    ),
    _reads(
        "iam",
        "ListInstanceProfiles",
        instance_profile.list_all,
        f"PathPrefix {PAGES}",
        instance_profile.check_list,
    ),
    _on_role("ListInstanceProfilesForRole", instance_profile.list_for_role, PAGES, writes=False),
    _on_profile("GetInstanceProfile", instance_profile.get, writes=False),
    _on_profile("DeleteInstanceProfile", instance_profile.delete, writes=True),
    _writes(
        "iam",
        "AddRoleToInstanceProfile",
        instance_profile.add_role,
        "InstanceProfileName RoleName",
        instance_profile.check_add_role,
    ),
    _on_profile("RemoveRoleFromInstanceProfile", instance_profile.remove_role, "RoleName", writes=True),
    _on_profile("TagInstanceProfile", instance_profile.tag, "Tags", writes=True),
    _on_profile("UntagInstanceProfile", instance_profile.untag, "TagKeys", writes=True),
    _on_profile("ListInstanceProfileTags", instance_profile.list_tags, PAGES, writes=False),
)

POLICIES = (
    _writes(
        "iam", "CreatePolicy", policy.create, "PolicyName Path PolicyDocument Description Tags", policy.check_create
    ),
    _reads(
        "iam",
        "ListPolicies",
        policy.list_all,
        f"Scope OnlyAttached PathPrefix PolicyUsageFilter {PAGES}",
        policy.check_list,
    ),
    _on_policy("GetPolicy", policy.get, writes=False),
    _on_policy("DeletePolicy", policy.delete, writes=True),
    _on_policy("CreatePolicyVersion", policy.create_version, "PolicyDocument SetAsDefault", writes=True),
    _on_policy("GetPolicyVersion", policy.get_version, "VersionId", writes=False),
    _on_policy("ListPolicyVersions", policy.list_versions, PAGES, writes=False),
    _on_policy("SetDefaultPolicyVersion", policy.set_default_version, "VersionId", writes=True),
    _on_policy("DeletePolicyVersion", policy.delete_version, "VersionId", writes=True),
    _on_policy(
        "ListEntitiesForPolicy",
        policy.list_entities,
        f"EntityFilter PathPrefix PolicyUsageFilter {PAGES}",
        writes=False,
    ),
    _on_policy("TagPolicy", policy.tag, "Tags", writes=True),
    _on_policy("UntagPolicy", policy.untag, "TagKeys", writes=True),
    _on_policy("ListPolicyTags", policy.list_tags, PAGES, writes=False),
)

USERS = (
    _writes("iam", "CreateUser", user.create, "Path UserName PermissionsBoundary Tags", user.check_create),
    _reads("iam", "ListUsers", user.list_all, f"PathPrefix {PAGES}", user.check_list),
    _on_user("GetUser", user.get, writes=False),
    _on_user("DeleteUser", user.delete, writes=True),
    _writes("iam", "UpdateUser", user.update, "UserName NewPath NewUserName", user.check_update),
    _on_user("TagUser", user.tag, "Tags", writes=True),
    _on_user("UntagUser", user.untag, "TagKeys", writes=True),
    _on_user("ListUserTags", user.list_tags, PAGES, writes=False),
    _on_user("PutUserPolicy", USER_POLICIES.put, "PolicyName PolicyDocument", writes=True),
    _on_user("GetUserPolicy", USER_POLICIES.get, "PolicyName", writes=False),
    _on_user("ListUserPolicies", USER_POLICIES.list_all, PAGES, writes=False),
    _on_user("DeleteUserPolicy", USER_POLICIES.delete, "PolicyName", writes=True),
    _on_user("AttachUserPolicy", USER_POLICIES.attach, "PolicyArn", writes=True),
    _on_user("DetachUserPolicy", USER_POLICIES.detach, "PolicyArn", writes=True),
    _on_user("ListAttachedUserPolicies", USER_POLICIES.list_attached, f"PathPrefix {PAGES}", writes=False),
    _on_user("PutUserPermissionsBoundary", USER_BOUNDARY.put, "PermissionsBoundary", writes=True),
    _on_user("DeleteUserPermissionsBoundary", USER_BOUNDARY.delete, writes=True),
    _on_user("ListGroupsForUser", group.list_for_user, PAGES, writes=False),
    _on_user("CreateAccessKey", access_key.create, writes=True),
    _on_user("ListAccessKeys", access_key.list_all, PAGES, writes=False),
    _on_user("UpdateAccessKey", access_key.update, "AccessKeyId Status", writes=True),
    _on_user("DeleteAccessKey", access_key.delete, "AccessKeyId", writes=True),
    _on_user("CreateLoginProfile", login_profile.create, "Password PasswordResetRequired", writes=True),
    _on_user("GetLoginProfile", login_profile.get, writes=False),
    _on_user("UpdateLoginProfile", login_profile.update, "Password PasswordResetRequired", writes=True),
    _on_user("DeleteLoginProfile", login_profile.delete, writes=True),
    _writes("iam", "ChangePassword", login_profile.change, "OldPassword NewPassword", user.check("ChangePassword")),
    _on_user("ListMFADevices", mfa_device.list_of_user, PAGES, writes=False),
    _on_user("ListSSHPublicKeys", empty_listings.ssh_public_keys, PAGES, writes=False),
    _on_user("ListSigningCertificates", empty_listings.signing_certificates, PAGES, writes=False),
    _on_user(
        "ListServiceSpecificCredentials", empty_listings.service_credentials, f"ServiceName {PAGES}", writes=False
    ),
    _reads("iam", "GetAccessKeyLastUsed", access_key.last_used, "AccessKeyId", access_key.check_last_used),
)

MFA_DEVICES = (
    _on_device("CreateVirtualMFADevice", mfa_device.create, "Path VirtualMFADeviceName Tags", writes=True),
    _on_device("DeleteVirtualMFADevice", mfa_device.delete, "SerialNumber", writes=True),
    _on_user("EnableMFADevice", mfa_device.enable, "SerialNumber AuthenticationCode1 AuthenticationCode2", writes=True),
    _on_user("DeactivateMFADevice", mfa_device.deactivate, "SerialNumber", writes=True),
    _on_user("ResyncMFADevice", mfa_device.resync, "SerialNumber AuthenticationCode1 AuthenticationCode2", writes=True),
    _on_device("GetMFADevice", mfa_device.get, "SerialNumber UserName", writes=False),
    _on_device("TagMFADevice", mfa_device.tag, "SerialNumber Tags", writes=True),
    _on_device("UntagMFADevice", mfa_device.untag, "SerialNumber TagKeys", writes=True),
    _on_device("ListMFADeviceTags", mfa_device.list_tags, f"SerialNumber {PAGES}", writes=False),
)

GROUPS = (
    _writes("iam", "CreateGroup", group.create, "Path GroupName", group.check_create),
    _reads("iam", "ListGroups", group.list_all, f"PathPrefix {PAGES}", group.check_list),
    _on_group("GetGroup", group.get, PAGES, writes=False),
    _on_group("DeleteGroup", group.delete, writes=True),
    _writes("iam", "UpdateGroup", group.update, "GroupName NewPath NewGroupName", group.check_update),
    _on_group("AddUserToGroup", group.add_user, "UserName", writes=True),
    _on_group("RemoveUserFromGroup", group.remove_user, "UserName", writes=True),
    _on_group("PutGroupPolicy", GROUP_POLICIES.put, "PolicyName PolicyDocument", writes=True),
    _on_group("GetGroupPolicy", GROUP_POLICIES.get, "PolicyName", writes=False),
    _on_group("ListGroupPolicies", GROUP_POLICIES.list_all, PAGES, writes=False),
    _on_group("DeleteGroupPolicy", GROUP_POLICIES.delete, "PolicyName", writes=True),
    _on_group("AttachGroupPolicy", GROUP_POLICIES.attach, "PolicyArn", writes=True),
    _on_group("DetachGroupPolicy", GROUP_POLICIES.detach, "PolicyArn", writes=True),
    _on_group("ListAttachedGroupPolicies", GROUP_POLICIES.list_attached, f"PathPrefix {PAGES}", writes=False),
)

ACCOUNT = (
    _writes("iam", "CreateAccountAlias", account_alias.create, "AccountAlias", account.check("CreateAccountAlias")),
    _writes("iam", "DeleteAccountAlias", account_alias.delete, "AccountAlias", account.check("DeleteAccountAlias")),
    _reads("iam", "ListAccountAliases", account_alias.list_all, PAGES, account.check("ListAccountAliases")),
    _writes(
        "iam",
        "UpdateAccountPasswordPolicy",
        password_policy.update,
        " ".join(password_policy.FIELDS),
        account.check("UpdateAccountPasswordPolicy"),
    ),
    _reads("iam", "GetAccountPasswordPolicy", password_policy.get, "", account.check("GetAccountPasswordPolicy")),
    _writes(
        "iam",
        "DeleteAccountPasswordPolicy",
        password_policy.delete,
        "",
        account.check("DeleteAccountPasswordPolicy"),
    ),
    _writes(
        "iam", "GenerateCredentialReport", credential_report.generate, "", account.check("GenerateCredentialReport")
    ),
    _reads("iam", "GetCredentialReport", credential_report.get, "", account.check("GetCredentialReport")),
    _reads(
        "iam",
        "ListVirtualMFADevices",
        mfa_device.list_all,
        f"AssignmentStatus {PAGES}",
        account.check("ListVirtualMFADevices"),
    ),
    _reads(
        "iam",
        "ListServerCertificates",
        empty_listings.server_certificates,
        f"PathPrefix {PAGES}",
        account.check("ListServerCertificates"),
    ),
    _reads(
        "iam",
        "ListOpenIDConnectProviders",
        empty_listings.openid_connect_providers,
        "",
        account.check("ListOpenIDConnectProviders"),
    ),
    _reads("iam", "ListSAMLProviders", empty_listings.saml_providers, "", account.check("ListSAMLProviders")),
    _reads("iam", "GetAccountSummary", account.summary, "", account.check("GetAccountSummary")),
    _reads(
        "iam",
        "GetAccountAuthorizationDetails",
        account.authorization_details,
        f"Filter {PAGES}",
        account.check("GetAccountAuthorizationDetails"),
    ),
    _reads(
        "iam",
        "SimulatePrincipalPolicy",
        simulation.of_principal,
        f"PolicySourceArn {simulation.TAKES} {PAGES}",
        simulation.check_principal,
    ),
    _reads(
        "iam",
        "SimulateCustomPolicy",
        simulation.of_documents,
        f"{simulation.TAKES} {PAGES}",
        account.check("SimulateCustomPolicy"),
    ),
)

SIMULATOR_KEYS = (
    _reads(
        "iam",
        "GetContextKeysForPrincipalPolicy",
        simulation.keys_of_principal,
        "PolicySourceArn PolicyInputList",
        simulation.check_keys_of_principal,
    ),
    _reads(
        "iam",
        "GetContextKeysForCustomPolicy",
        simulation.keys_of_documents,
        "PolicyInputList",
        account.check("GetContextKeysForCustomPolicy"),
    ),
)

STS = (
    _reads("sts", "GetCallerIdentity", session.get_caller_identity, "", session.no_checks),
    _writes(
        "sts",
        "AssumeRole",
        session.assume_role,
        "RoleArn RoleSessionName PolicyArns Policy DurationSeconds ExternalId Tags TransitiveTagKeys SourceIdentity "
        "SerialNumber TokenCode",
        session.no_checks,
    ),
    _writes(
        "sts", "GetSessionToken", session.get_session_token, "DurationSeconds SerialNumber TokenCode", session.no_checks
    ),
    _writes(
        "sts",
        "GetFederationToken",
        session.get_federation_token,
        "Name Policy PolicyArns DurationSeconds Tags",
        session.check_federation,
    ),
    _reads(
        "sts", "DecodeAuthorizationMessage", authorization_message.decode, "EncodedMessage", authorization_message.check
    ),
    _reads("sts", "GetAccessKeyInfo", session.get_access_key_info, "AccessKeyId", session.check_key_info),
)

IDENTITY_OPERATIONS: tuple[Operation, ...] = (
    *ROLES,
    *SERVICE_LINKED_ROLES,
    *INSTANCE_PROFILES,
    *POLICIES,
    *USERS,
    *MFA_DEVICES,
    *GROUPS,
    *ACCOUNT,
    *SIMULATOR_KEYS,
    *STS,
)
