"""The clients of a soak that only talk to APIs: a network, users and roles, parameters, objects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from support.soak_worker import Facts, Worker, tag_set, tags_of

TRUST = json.dumps(
    {"Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}}
)
MOST = 4
"""Of a kind at a time: each look looks at all of them."""


class Networker(Worker):
    """VPCs with subnets, routes, groups and addresses."""

    def __init__(self, seed: str, ec2: Any) -> None:
        super().__init__(seed)
        self._ec2 = ec2
        self._ids: dict[str, str] = {}
        self._mine = [{"Name": "tag:soak", "Values": ["network"]}]

    @property
    def acts(self) -> Sequence[Callable[[], None]]:
        return (
            *(self._add_vpc, self._drop_vpc, self._rename_vpc, self._set_names),
            *(self._add_subnet, self._drop_subnet, self._map_addresses),
            *(self._add_group, self._drop_group, self._open, self._open, self._close),
            *(self._add_gateway, self._attach_gateway, self._drop_gateway),
            *(self._add_table, self._add_route, self._drop_route, self._drop_table),
            *(self._add_address, self._drop_address),
        )

    def observe(self) -> Facts:
        ec2, mine = self._ec2, self._mine
        vpcs = ec2.describe_vpcs(Filters=mine)["Vpcs"]
        subnets = ec2.describe_subnets(Filters=mine)["Subnets"]
        groups = ec2.describe_security_groups(Filters=mine)["SecurityGroups"]
        gateways = ec2.describe_internet_gateways(Filters=mine)["InternetGateways"]
        tables = ec2.describe_route_tables(Filters=mine)["RouteTables"]
        addresses = ec2.describe_addresses(Filters=mine)["Addresses"]
        for key, found in (
            *(("VpcId", vpcs), ("SubnetId", subnets), ("GroupId", groups)),
            *(("InternetGatewayId", gateways), ("RouteTableId", tables), ("AllocationId", addresses)),
        ):
            self._ids |= {tags_of(one)["Name"]: one[key] for one in found}
        names = {identity: name for name, identity in self._ids.items()}
        facts: Facts = {}
        for one in vpcs:
            asked = ec2.describe_vpc_attribute(VpcId=one["VpcId"], Attribute="enableDnsHostnames")
            tags = tags_of(one)
            facts["vpc", tags["Name"]] = (one["CidrBlock"], tags.get("word"), asked["EnableDnsHostnames"]["Value"])
        for one in subnets:
            place = names[one["VpcId"]], one["CidrBlock"]
            facts["subnet", tags_of(one)["Name"]] = (*place, one["MapPublicIpOnLaunch"])
        for one in groups:
            rules = {
                (rule["FromPort"], cidr["CidrIp"], cidr.get("Description", ""))
                for rule in one["IpPermissions"]
                for cidr in rule["IpRanges"]
            }
            facts["group", tags_of(one)["Name"]] = (names[one["VpcId"]], frozenset(rules))
        for one in gateways:
            where = [names[each["VpcId"]] for each in one["Attachments"]]
            facts["gateway", tags_of(one)["Name"]] = where[0] if where else ""
        for one in tables:
            routes = {
                (route["DestinationCidrBlock"], names.get(route.get("GatewayId", ""), ""))
                for route in one["Routes"]
                if route.get("GatewayId") != "local"
            }
            facts["table", tags_of(one)["Name"]] = (names[one["VpcId"]], frozenset(routes))
        for one in addresses:
            facts["address", tags_of(one)["Name"]] = True
        return facts

    def _tags(self, kind: str, name: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": tag_set({"Name": name, "soak": "network"})}]

    def _add_vpc(self) -> None:
        if len(self.has("vpc")) >= 2:
            return
        name, cidr = self.name("vpc"), f"10.{self.random.randrange(256)}.0.0/16"
        made = self.change(
            {("vpc", name): (cidr, None, False)},
            self._ec2.create_vpc,
            CidrBlock=cidr,
            TagSpecifications=self._tags("vpc", name),
        )
        self._ids[name] = made["Vpc"]["VpcId"]

    def _drop_vpc(self) -> None:
        free = [
            fact
            for fact in self.has("vpc")
            if not any(
                fact[1] == value or (isinstance(value, tuple) and value[0] == fact[1]) for value in self.facts.values()
            )
        ]
        if free and self.random.random() < 0.3:
            self.change({free[0]: None}, self._ec2.delete_vpc, VpcId=self._ids[free[0][1]])

    def _rename_vpc(self) -> None:
        if fact := self.one("vpc"):
            cidr, _, hostnames = self.facts[fact]
            word = self.word()
            vpc = self._ids[fact[1]]
            self.change(
                {fact: (cidr, word, hostnames)}, self._ec2.create_tags, Resources=[vpc], Tags=tag_set({"word": word})
            )

    def _set_names(self) -> None:
        if fact := self.one("vpc"):
            cidr, word, hostnames = self.facts[fact]
            self.change(
                {fact: (cidr, word, not hostnames)},
                self._ec2.modify_vpc_attribute,
                VpcId=self._ids[fact[1]],
                EnableDnsHostnames={"Value": not hostnames},
            )

    def _add_subnet(self) -> None:
        vpc = self.one("vpc")
        if vpc is None or len(self.has("subnet")) >= MOST:
            return
        name = self.name("subnet")
        cidr = self.facts[vpc][0].replace(".0.0/16", f".{self._names % 256}.0/24")
        made = self.change(
            {("subnet", name): (vpc[1], cidr, False)},
            self._ec2.create_subnet,
            VpcId=self._ids[vpc[1]],
            CidrBlock=cidr,
            TagSpecifications=self._tags("subnet", name),
        )
        self._ids[name] = made["Subnet"]["SubnetId"]

    def _drop_subnet(self) -> None:
        if fact := self.one("subnet"):
            self.change({fact: None}, self._ec2.delete_subnet, SubnetId=self._ids[fact[1]])

    def _map_addresses(self) -> None:
        if fact := self.one("subnet"):
            vpc, cidr, mapped = self.facts[fact]
            self.change(
                {fact: (vpc, cidr, not mapped)},
                self._ec2.modify_subnet_attribute,
                SubnetId=self._ids[fact[1]],
                MapPublicIpOnLaunch={"Value": not mapped},
            )

    def _add_group(self) -> None:
        vpc = self.one("vpc")
        if vpc is None or len(self.has("group")) >= MOST:
            return
        name = self.name("group")
        made = self.change(
            {("group", name): (vpc[1], frozenset())},
            self._ec2.create_security_group,
            GroupName=name,
            Description="of a soak",
            VpcId=self._ids[vpc[1]],
            TagSpecifications=self._tags("security-group", name),
        )
        self._ids[name] = made["GroupId"]

    def _drop_group(self) -> None:
        if fact := self.one("group"):
            self.change({fact: None}, self._ec2.delete_security_group, GroupId=self._ids[fact[1]])

    def _open(self) -> None:
        """Two rules by one call: one of them alone would be half a change."""
        if fact := self.one("group"):
            vpc, rules = self.facts[fact]
            port = self.name("").lstrip("-")
            cidrs = [f"192.0.2.{self.random.randrange(128)}/32", f"192.0.2.{128 + self.random.randrange(128)}/32"]
            more = {(int(port), cidr, "soak") for cidr in cidrs}
            ranges = [{"CidrIp": cidr, "Description": "soak"} for cidr in cidrs]
            self.change(
                {fact: (vpc, rules | more)},
                self._ec2.authorize_security_group_ingress,
                GroupId=self._ids[fact[1]],
                IpPermissions=[{"IpProtocol": "tcp", "FromPort": int(port), "ToPort": int(port), "IpRanges": ranges}],
            )

    def _close(self) -> None:
        fact = self.one("group")
        if fact is None or not self.facts[fact][1]:
            return
        vpc, rules = self.facts[fact]
        port, cidr, _ = rule = sorted(rules)[0]
        self.change(
            {fact: (vpc, rules - {rule})},
            self._ec2.revoke_security_group_ingress,
            GroupId=self._ids[fact[1]],
            IpPermissions=[{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}],
        )

    def _add_gateway(self) -> None:
        if len(self.has("gateway")) >= 2:
            return
        name = self.name("gateway")
        made = self.change(
            {("gateway", name): ""},
            self._ec2.create_internet_gateway,
            TagSpecifications=self._tags("internet-gateway", name),
        )
        self._ids[name] = made["InternetGateway"]["InternetGatewayId"]

    def _attach_gateway(self) -> None:
        gateway, vpc = self.one("gateway"), self.one("vpc")
        if gateway is None or vpc is None or self.facts[gateway] or vpc[1] in self.facts.values():
            return
        self.change(
            {gateway: vpc[1]},
            self._ec2.attach_internet_gateway,
            InternetGatewayId=self._ids[gateway[1]],
            VpcId=self._ids[vpc[1]],
        )

    def _drop_gateway(self) -> None:
        fact = self.one("gateway")
        if fact is None:
            return
        gateway = self._ids[fact[1]]
        routed = any(("0.0.0.0/0", fact[1]) in self.facts[table][1] for table in self.has("table"))
        if not self.facts[fact]:
            if not routed:
                self.change({fact: None}, self._ec2.delete_internet_gateway, InternetGatewayId=gateway)
        elif not routed:
            vpc = self._ids[self.facts[fact]]
            self.change({fact: ""}, self._ec2.detach_internet_gateway, InternetGatewayId=gateway, VpcId=vpc)

    def _add_table(self) -> None:
        vpc = self.one("vpc")
        if vpc is None or len(self.has("table")) >= MOST:
            return
        name = self.name("table")
        made = self.change(
            {("table", name): (vpc[1], frozenset())},
            self._ec2.create_route_table,
            VpcId=self._ids[vpc[1]],
            TagSpecifications=self._tags("route-table", name),
        )
        self._ids[name] = made["RouteTable"]["RouteTableId"]

    def _add_route(self) -> None:
        fact = self.one("table")
        if fact is None or self.facts[fact][1]:
            return
        vpc = self.facts[fact][0]
        for gateway in self.has("gateway"):
            if self.facts[gateway] == vpc:
                self.change(
                    {fact: (vpc, frozenset({("0.0.0.0/0", gateway[1])}))},
                    self._ec2.create_route,
                    RouteTableId=self._ids[fact[1]],
                    DestinationCidrBlock="0.0.0.0/0",
                    GatewayId=self._ids[gateway[1]],
                )

    def _drop_route(self) -> None:
        fact = self.one("table")
        if fact is not None and self.facts[fact][1]:
            self.change(
                {fact: (self.facts[fact][0], frozenset())},
                self._ec2.delete_route,
                RouteTableId=self._ids[fact[1]],
                DestinationCidrBlock="0.0.0.0/0",
            )

    def _drop_table(self) -> None:
        if fact := self.one("table"):
            self.change({fact: None}, self._ec2.delete_route_table, RouteTableId=self._ids[fact[1]])

    def _add_address(self) -> None:
        if len(self.has("address")) >= 3:
            return
        name = self.name("address")
        made = self.change(
            {("address", name): True},
            self._ec2.allocate_address,
            Domain="vpc",
            TagSpecifications=self._tags("elastic-ip", name),
        )
        self._ids[name] = made["AllocationId"]

    def _drop_address(self) -> None:
        if fact := self.one("address"):
            self.change({fact: None}, self._ec2.release_address, AllocationId=self._ids[fact[1]])


class Administrator(Worker):
    """Users with keys and policies, roles with profiles; and parameters."""

    def __init__(self, seed: str, iam: Any, ssm: Any) -> None:
        super().__init__(seed)
        self._iam = iam
        self._ssm = ssm

    @property
    def acts(self) -> Sequence[Callable[[], None]]:
        return (
            *(self._add_user, self._add_key, self._drop_key, self._write_policy, self._drop_user),
            *(self._add_role, self._add_profile, self._fill_profile, self._drop_role),
            *(self._put_parameter, self._put_parameter, self._drop_parameters),
        )

    def observe(self) -> Facts:
        iam, ssm, facts = self._iam, self._ssm, Facts()
        for user in iam.list_users(PathPrefix="/soak/")["Users"]:
            name = user["UserName"]
            policies = {
                policy: json.dumps(iam.get_user_policy(UserName=name, PolicyName=policy)["PolicyDocument"])
                for policy in iam.list_user_policies(UserName=name)["PolicyNames"]
            }
            facts["user", name] = policies
            for number, key in enumerate(iam.list_access_keys(UserName=name)["AccessKeyMetadata"]):
                facts["key", name, str(number)] = key["Status"]
        for role in iam.list_roles(PathPrefix="/soak/")["Roles"]:
            facts["role", role["RoleName"]] = tags_of(iam.get_role(RoleName=role["RoleName"])["Role"])
        for profile in iam.list_instance_profiles(PathPrefix="/soak/")["InstanceProfiles"]:
            facts["profile", profile["InstanceProfileName"]] = [role["RoleName"] for role in profile["Roles"]]
        pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/soak", Recursive=True)
        for parameter in (one for page in pages for one in page["Parameters"]):
            facts["parameter", parameter["Name"]] = (parameter["Value"], parameter["Version"])
        return facts

    def _add_user(self) -> None:
        if len(self.has("user")) < MOST:
            name = self.name("user")
            self.change({("user", name): {}}, self._iam.create_user, UserName=name, Path="/soak/")

    def _keys(self, user: str) -> list[tuple[str, ...]]:
        return [fact for fact in self.has("key") if fact[1] == user]

    def _add_key(self) -> None:
        fact = self.one("user")
        if fact is not None and not self._keys(fact[1]):
            self.change({("key", fact[1], "0"): "Active"}, self._iam.create_access_key, UserName=fact[1])

    def _drop_key(self) -> None:
        if fact := self.one("key"):
            user = fact[1]
            (key,) = self._iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
            self.change({fact: None}, self._iam.delete_access_key, UserName=user, AccessKeyId=key["AccessKeyId"])

    def _write_policy(self) -> None:
        if fact := self.one("user"):
            document = json.dumps(
                {
                    "Statement": [{"Effect": "Allow", "Action": f"s3:{self.word()}", "Resource": "*"}],
                    "Version": "2012-10-17",
                }
            )
            policy = self.random.choice("ab")
            self.change(
                {fact: {**self.facts[fact], policy: document}},
                self._iam.put_user_policy,
                UserName=fact[1],
                PolicyName=policy,
                PolicyDocument=document,
            )

    def _drop_user(self) -> None:
        fact = self.one("user")
        if fact is not None and not self._keys(fact[1]) and not self.facts[fact]:
            self.change({fact: None}, self._iam.delete_user, UserName=fact[1])

    def _add_role(self) -> None:
        if len(self.has("role")) < MOST:
            name, tags = self.name("role"), {"word": self.word()}
            self.change(
                {("role", name): tags},
                self._iam.create_role,
                RoleName=name,
                Path="/soak/",
                AssumeRolePolicyDocument=TRUST,
                Tags=tag_set(tags),
            )

    def _add_profile(self) -> None:
        if len(self.has("profile")) < MOST:
            name = self.name("profile")
            self.change(
                {("profile", name): []}, self._iam.create_instance_profile, InstanceProfileName=name, Path="/soak/"
            )

    def _fill_profile(self) -> None:
        profile, role = self.one("profile"), self.one("role")
        if profile is None or role is None:
            return
        if self.facts[profile]:
            act, roles = self._iam.remove_role_from_instance_profile, []
            named = self.facts[profile][0]
        else:
            act, roles, named = self._iam.add_role_to_instance_profile, [role[1]], role[1]
        self.change({profile: roles}, act, InstanceProfileName=profile[1], RoleName=named)

    def _drop_role(self) -> None:
        fact = self.one("role")
        if fact is not None and not any(self.facts[profile] == [fact[1]] for profile in self.has("profile")):
            self.change({fact: None}, self._iam.delete_role, RoleName=fact[1])

    def _put_parameter(self) -> None:
        name, value = f"/soak/{self.random.randrange(8)}", self.word()
        _, version = self.facts.get(("parameter", name), ("", 0))
        self.change(
            {("parameter", name): (value, version + 1)},
            self._ssm.put_parameter,
            Name=name,
            Value=value,
            Type="String",
            Overwrite=True,
        )

    def _drop_parameters(self) -> None:
        there = self.has("parameter")
        if len(there) > 3:
            some = self.random.sample(there, 2)
            self.change(dict.fromkeys(some), self._ssm.delete_parameters, Names=[name for _, name in some])


class Storekeeper(Worker):
    """Objects in a bucket with versions: put, copied, in parts, deleted one by one and several at once."""

    BUCKET = "soak"
    LARGEST = (60_000, 400_000)
    """Of bodies that are kept in the database, and of those that mostly are files."""
    PART = 5 << 20

    def __init__(self, seed: str, s3: Any) -> None:
        super().__init__(seed)
        self._s3 = s3
        self._parts: dict[str, list[bytes]] = {}
        s3.create_bucket(Bucket=self.BUCKET)
        s3.put_bucket_versioning(Bucket=self.BUCKET, VersioningConfiguration={"Status": "Enabled"})

    @property
    def acts(self) -> Sequence[Callable[[], None]]:
        return (
            *(self._put, self._put, self._put, self._copy, self._mark, self._drop_version, self._drop_several),
            *(self._begin, self._add_part, self._complete, self._abort),
        )

    def observe(self) -> Facts:
        facts: Facts = {}
        listed = self._s3.list_object_versions(Bucket=self.BUCKET)
        assert not listed["IsTruncated"]
        found = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        for one in sorted(found, key=lambda each: (each["IsLatest"], each["LastModified"]), reverse=True):
            facts.setdefault(("object", one["Key"]), []).append(self._content(one))
        for kept in facts.values():
            kept.sort()
        for upload in self._s3.list_multipart_uploads(Bucket=self.BUCKET).get("Uploads", []):
            parts = self._s3.list_parts(Bucket=self.BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
            facts["upload", upload["Key"]] = {part["PartNumber"]: part["ETag"] for part in parts.get("Parts", [])}
        return facts

    def _content(self, version: dict[str, Any]) -> str:
        """What a version holds, by its own bytes; its ETag has to be theirs."""
        if "ETag" not in version:
            return "marker"
        body = self._s3.get_object(Bucket=self.BUCKET, Key=version["Key"], VersionId=version["VersionId"])[
            "Body"
        ].read()
        assert len(body) == version["Size"]
        if "-" not in version["ETag"]:
            assert md5(body) == version["ETag"]
        return digest(body)

    def _body(self, size: int | None = None) -> bytes:
        return self.random.randbytes(self.random.randrange(self.random.choice(self.LARGEST)) if size is None else size)

    def _with(self, key: str, more: str) -> Facts:
        """The versions of a key and one more; which is the newest is in their order on the server only."""
        return {("object", key): sorted([*self.facts.get(("object", key), []), more])}

    def _put(self) -> None:
        key, body = f"key-{self.random.randrange(8)}", self._body()
        if len(self.facts.get(("object", key), ())) < MOST:
            self.change(self._with(key, digest(body)), self._s3.put_object, Bucket=self.BUCKET, Key=key, Body=body)

    def _live(self) -> dict[str, Any] | None:
        found = self._s3.list_objects_v2(Bucket=self.BUCKET).get("Contents", [])
        return self.random.choice(found) if found else None

    def _copy(self) -> None:
        source, key = self._live(), f"copy-{self.random.randrange(4)}"
        if source is None or source["Key"] == key or len(self.facts.get(("object", key), ())) >= MOST:
            return
        where = {"Bucket": self.BUCKET, "Key": source["Key"]}
        content = digest(self._s3.get_object(**where)["Body"].read())
        self.change(self._with(key, content), self._s3.copy_object, Bucket=self.BUCKET, Key=key, CopySource=where)

    def _mark(self) -> None:
        live = self._live()
        if live is not None and len(self.facts["object", live["Key"]]) < MOST:
            key = live["Key"]
            self.change(self._with(key, "marker"), self._s3.delete_object, Bucket=self.BUCKET, Key=key)

    def _versions(self) -> list[dict[str, Any]]:
        listed = self._s3.list_object_versions(Bucket=self.BUCKET)
        return [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]

    def _without(self, versions: list[dict[str, Any]]) -> Facts:
        left: Facts = {}
        for version in versions:
            fact = ("object", version["Key"])
            kept = list(left.get(fact, self.facts[fact]))
            kept.remove(self._content(version))
            left[fact] = kept
        return {fact: kept or None for fact, kept in left.items()}

    def _drop_version(self) -> None:
        there = self._versions()
        if there:
            one = self.random.choice(there)
            which = {"Key": one["Key"], "VersionId": one["VersionId"]}
            self.change(self._without([one]), self._s3.delete_object, Bucket=self.BUCKET, **which)

    def _drop_several(self) -> None:
        there = self._versions()
        if len(there) < 6:
            return
        some = self.random.sample(there, 4)
        which = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in some]
        self.change(self._without(some), self._s3.delete_objects, Bucket=self.BUCKET, Delete={"Objects": which})

    def _begin(self) -> None:
        key = f"parts-{self.random.randrange(3)}"
        if ("upload", key) not in self.facts and len(self.facts.get(("object", key), ())) < 2:
            self.change({("upload", key): {}}, self._s3.create_multipart_upload, Bucket=self.BUCKET, Key=key)

    def _upload(self, key: str) -> dict[str, str]:
        (found,) = self._s3.list_multipart_uploads(Bucket=self.BUCKET, Prefix=key)["Uploads"]
        return {"Bucket": self.BUCKET, "Key": key, "UploadId": found["UploadId"]}

    def _add_part(self) -> None:
        fact = self.one("upload")
        if fact is None or len(self.facts[fact]) == 2:
            return
        parts = self.facts[fact]
        number = len(parts) + 1
        body = self._body(self.PART if number == 1 else None)
        self._parts[fact[1]] = [*self._parts.get(fact[1], [])[: number - 1], body]
        self.change(
            {fact: {**parts, number: md5(body)}},
            self._s3.upload_part,
            **self._upload(fact[1]),
            PartNumber=number,
            Body=body,
        )

    def _complete(self) -> None:
        fact = self.one("upload")
        if fact is None or len(self.facts[fact]) < 2 or len(self._parts.get(fact[1], [])) < 2:
            return
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(self.facts[fact].items())]
        content = digest(b"".join(self._parts[fact[1]]))
        self.change(
            {**self._with(fact[1], content), fact: None},
            self._s3.complete_multipart_upload,
            **self._upload(fact[1]),
            MultipartUpload={"Parts": parts},
        )

    def _abort(self) -> None:
        fact = self.one("upload")
        if fact is not None and self.random.random() < 0.3:
            self.change({fact: None}, self._s3.abort_multipart_upload, **self._upload(fact[1]))


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def md5(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'
