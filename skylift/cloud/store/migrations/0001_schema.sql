-- The state of a cloud. Times are ISO 8601 in UTC, truth is 0 or 1, and what SQLite cannot hold is JSON (mapping.py).


-- The cloud and its account

-- Facts about this cloud: one row.
CREATE TABLE cloud_facts (
    account TEXT PRIMARY KEY,
    region TEXT NOT NULL,
    loopback_net INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    reserved_uids TEXT NOT NULL,
    public_ips_given INTEGER NOT NULL,
    allowed TEXT NOT NULL
) STRICT;

-- What is set for the whole account.
CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    alias TEXT,
    metadata TEXT NOT NULL,
    passwords TEXT
) STRICT;

-- What vouches for instances' identity documents.
CREATE TABLE document_keys (
    account TEXT PRIMARY KEY,
    private_key TEXT NOT NULL,
    certificate TEXT NOT NULL,
    created TEXT NOT NULL
) STRICT;

CREATE TABLE client_tokens (
    operation TEXT NOT NULL,
    token TEXT NOT NULL,
    digest TEXT NOT NULL,
    result TEXT NOT NULL,
    PRIMARY KEY (operation, token)
) STRICT;


-- Who there is: users, groups, roles and policies

CREATE TABLE access_keys (
    id TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    user TEXT,
    created TEXT NOT NULL,
    active INTEGER NOT NULL,
    used TEXT,
    used_service TEXT,
    used_region TEXT
) STRICT;
CREATE INDEX access_keys_by_user ON access_keys (user);

-- Temporary credentials: of a role, a user or an instance.
CREATE TABLE sessions (
    access_key_id TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    token TEXT NOT NULL,
    role TEXT,
    role_id TEXT,
    name TEXT NOT NULL,
    created TEXT NOT NULL,
    expires TEXT NOT NULL,
    policies TEXT NOT NULL,
    instance_id TEXT,
    user_id TEXT,
    tags TEXT NOT NULL,
    transitive TEXT NOT NULL,
    delivery TEXT NOT NULL,
    source_identity TEXT,
    mfa TEXT,
    federation TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_by_expiry ON sessions (expires);
CREATE INDEX sessions_by_instance ON sessions (instance_id) WHERE instance_id IS NOT NULL;

-- IAM compares names without case when it looks for a conflict, and with it when it looks one up.
CREATE TABLE users (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    arn TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    created TEXT NOT NULL,
    permissions_boundary TEXT,
    inline TEXT NOT NULL,
    attached TEXT NOT NULL,
    groups TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_by_name ON users (name COLLATE NOCASE);

CREATE TABLE user_groups (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    arn TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    created TEXT NOT NULL,
    inline TEXT NOT NULL,
    attached TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX user_groups_by_name ON user_groups (name COLLATE NOCASE);

CREATE TABLE roles (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    arn TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    trust_policy TEXT NOT NULL,
    created TEXT NOT NULL,
    description TEXT NOT NULL,
    max_session_seconds INTEGER NOT NULL,
    permissions_boundary TEXT,
    inline TEXT NOT NULL,
    attached TEXT NOT NULL,
    tags TEXT NOT NULL,
    used TEXT,
    used_region TEXT
) STRICT;
CREATE UNIQUE INDEX roles_by_name ON roles (name COLLATE NOCASE);

CREATE TABLE role_deletions (
    id TEXT PRIMARY KEY,
    at TEXT NOT NULL
) STRICT;

CREATE TABLE instance_profiles (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    arn TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    created TEXT NOT NULL,
    role TEXT REFERENCES roles (name),
    tags TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX instance_profiles_by_name ON instance_profiles (name COLLATE NOCASE);
CREATE INDEX instance_profiles_by_role ON instance_profiles (role);

CREATE TABLE managed_policies (
    arn TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    created TEXT NOT NULL,
    updated TEXT NOT NULL,
    versions TEXT NOT NULL,
    default_version TEXT NOT NULL,
    latest INTEGER NOT NULL,
    description TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX managed_policies_by_name ON managed_policies (name COLLATE NOCASE);

-- Users' passwords.
CREATE TABLE login_profiles (
    user TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    changed TEXT NOT NULL,
    password TEXT NOT NULL,
    earlier TEXT NOT NULL,
    reset_required INTEGER NOT NULL
) STRICT;

-- Virtual MFA devices.
CREATE TABLE mfa_devices (
    serial TEXT PRIMARY KEY,
    seed TEXT NOT NULL,
    created TEXT NOT NULL,
    user_id TEXT,
    enabled TEXT,
    last_step INTEGER NOT NULL,
    tags TEXT NOT NULL,
    wrong INTEGER NOT NULL,
    tried TEXT
) STRICT;

CREATE TABLE service_credentials (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    service TEXT NOT NULL,
    service_user TEXT NOT NULL,
    created TEXT NOT NULL,
    active INTEGER NOT NULL
) STRICT;

CREATE TABLE oidc_providers (
    arn TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    created TEXT NOT NULL,
    client_ids TEXT NOT NULL,
    thumbprints TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE issuer_keys (
    url TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    given TEXT NOT NULL
) STRICT;

CREATE TABLE credential_reports (
    account TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    generated TEXT NOT NULL
) STRICT;


-- VPCs

CREATE TABLE vpcs (
    id TEXT PRIMARY KEY,
    cidr TEXT NOT NULL,
    is_default INTEGER NOT NULL,
    dns_support INTEGER NOT NULL,
    dns_hostnames INTEGER NOT NULL,
    dhcp_options_id TEXT NOT NULL,
    tags TEXT NOT NULL,
    more_cidrs TEXT NOT NULL,
    tenancy TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_default_vpc ON vpcs (is_default) WHERE is_default = 1;

CREATE TABLE subnets (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL REFERENCES vpcs (id),
    cidr TEXT NOT NULL,
    zone TEXT NOT NULL,
    map_public_ip INTEGER NOT NULL,
    default_for_zone INTEGER NOT NULL,
    tags TEXT NOT NULL
) STRICT;
CREATE INDEX subnets_by_vpc ON subnets (vpc_id);

CREATE TABLE dhcp_options (
    id TEXT PRIMARY KEY,
    configurations TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE internet_gateways (
    id TEXT PRIMARY KEY,
    vpc_id TEXT UNIQUE REFERENCES vpcs (id),
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE route_tables (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL REFERENCES vpcs (id),
    routes TEXT NOT NULL,
    associations TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;
CREATE INDEX route_tables_by_vpc ON route_tables (vpc_id);

CREATE TABLE network_acls (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL REFERENCES vpcs (id),
    is_default INTEGER NOT NULL,
    entries TEXT NOT NULL,
    associations TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;
CREATE INDEX network_acls_by_vpc ON network_acls (vpc_id);
CREATE UNIQUE INDEX one_default_acl ON network_acls (vpc_id) WHERE is_default = 1;

CREATE TABLE security_groups (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL REFERENCES vpcs (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    rules TEXT NOT NULL,
    tags TEXT NOT NULL,
    UNIQUE (vpc_id, name)
) STRICT;

-- The tags of security groups' rules. Rules that got them together share them.
CREATE TABLE rule_tags (
    id TEXT PRIMARY KEY,
    group_id TEXT NOT NULL REFERENCES security_groups (id) ON DELETE CASCADE,
    tags TEXT NOT NULL
) STRICT;
CREATE INDEX rule_tags_by_group ON rule_tags (group_id);
CREATE TABLE tagged_rules (
    id TEXT PRIMARY KEY,
    group_id TEXT NOT NULL REFERENCES security_groups (id) ON DELETE CASCADE,
    tags_id TEXT NOT NULL
) STRICT;
CREATE INDEX tagged_rules_by_group ON tagged_rules (group_id);
CREATE INDEX tagged_rules_by_tags ON tagged_rules (tags_id);
CREATE TRIGGER tagged_rules_end_with_the_rules AFTER UPDATE OF rules ON security_groups BEGIN
    DELETE FROM tagged_rules WHERE group_id = NEW.id AND instr(NEW.rules, id) = 0;
END;
CREATE TRIGGER rule_tags_end_with_the_last_rule AFTER DELETE ON tagged_rules
WHEN NOT EXISTS (SELECT 1 FROM tagged_rules WHERE tags_id = OLD.tags_id) BEGIN
    DELETE FROM rule_tags WHERE id = OLD.tags_id;
END;
CREATE TRIGGER rule_tags_end_with_others AFTER UPDATE ON tagged_rules
WHEN NOT EXISTS (SELECT 1 FROM tagged_rules WHERE tags_id = OLD.tags_id) BEGIN
    DELETE FROM rule_tags WHERE id = OLD.tags_id;
END;

-- Managed prefix lists with their versions.
CREATE TABLE prefix_lists (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    family TEXT NOT NULL,
    max_entries INTEGER NOT NULL,
    version INTEGER NOT NULL,
    entries TEXT NOT NULL,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE earlier_prefix_lists (
    id TEXT NOT NULL REFERENCES prefix_lists (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    entries TEXT NOT NULL,
    PRIMARY KEY (id, version)
) STRICT;

-- A row here always has a subnet; an interface of an instance goes when that is terminated, while the instance stays.
CREATE TABLE network_interfaces (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL REFERENCES vpcs (id),
    subnet_id TEXT NOT NULL REFERENCES subnets (id),
    mac TEXT NOT NULL UNIQUE,
    private_ip TEXT NOT NULL,
    group_ids TEXT NOT NULL,
    created TEXT NOT NULL,
    public_ip TEXT UNIQUE,
    wants_public_ip INTEGER NOT NULL,
    instance_id TEXT REFERENCES instances (id),
    "index" INTEGER NOT NULL,
    attachment_id TEXT,
    delete_on_termination INTEGER NOT NULL,
    source_dest_check INTEGER NOT NULL,
    description TEXT NOT NULL,
    tags TEXT NOT NULL,
    kind TEXT NOT NULL,
    secondary TEXT NOT NULL,
    attachment TEXT NOT NULL,
    attached TEXT,
    requester TEXT NOT NULL,
    UNIQUE (subnet_id, private_ip)
) STRICT;
CREATE INDEX network_interfaces_by_instance ON network_interfaces (instance_id);
CREATE INDEX network_interfaces_by_attachment ON network_interfaces (attachment);
-- A server has one interface at each of its indexes.
CREATE UNIQUE INDEX network_interfaces_by_index ON network_interfaces (instance_id, "index")
    WHERE instance_id IS NOT NULL;

-- Elastic IPs. An interface may have one at each of its addresses.
CREATE TABLE addresses (
    id TEXT PRIMARY KEY,
    public_ip TEXT NOT NULL UNIQUE,
    association_id TEXT UNIQUE,
    interface_id TEXT REFERENCES network_interfaces (id),
    private_ip TEXT,
    tags TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX addresses_by_private_ip ON addresses (interface_id, private_ip) WHERE interface_id IS NOT NULL;

CREATE TABLE released_addresses (
    public_ip TEXT PRIMARY KEY,
    at TEXT NOT NULL
) STRICT;

-- A deleted one is still described for an hour, so it refers to nothing that has to be there.
CREATE TABLE nat_gateways (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL,
    subnet_id TEXT NOT NULL,
    interface_id TEXT NOT NULL,
    private_ip TEXT NOT NULL,
    public_ip TEXT,
    allocation_id TEXT,
    association_id TEXT,
    created TEXT NOT NULL,
    state TEXT NOT NULL,
    deleted TEXT,
    tags TEXT NOT NULL,
    connectivity TEXT NOT NULL,
    secondary TEXT NOT NULL
) STRICT;
CREATE INDEX nat_gateways_by_vpc ON nat_gateways (vpc_id);

CREATE TABLE vpc_peerings (
    id TEXT PRIMARY KEY,
    requester_vpc_id TEXT NOT NULL,
    requester_cidrs TEXT NOT NULL,
    accepter_vpc_id TEXT NOT NULL,
    accepter_cidrs TEXT NOT NULL,
    created TEXT NOT NULL,
    state TEXT NOT NULL,
    ended TEXT,
    tags TEXT NOT NULL
) STRICT;
CREATE INDEX vpc_peerings_by_state ON vpc_peerings (state);

-- Gateway endpoints for S3. Their routes stand in the route tables.
CREATE TABLE vpc_endpoints (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL REFERENCES vpcs (id),
    service TEXT NOT NULL,
    policy TEXT NOT NULL,
    created TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;
CREATE INDEX vpc_endpoints_by_vpc ON vpc_endpoints (vpc_id);


-- Instances, and what they start from

CREATE TABLE instances (
    id TEXT PRIMARY KEY,
    reservation_id TEXT NOT NULL,
    launch_index INTEGER NOT NULL,
    image_id TEXT NOT NULL,
    type TEXT NOT NULL,
    zone TEXT NOT NULL,
    vpc_id TEXT NOT NULL,
    subnet_id TEXT NOT NULL,
    launched TEXT NOT NULL,
    uid_base INTEGER NOT NULL,
    key_name TEXT,
    public_key TEXT,
    user_data TEXT,
    profile_arn TEXT,
    profile_id TEXT,
    client_token TEXT,
    shutdown_behavior TEXT NOT NULL,
    termination_protected INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    desired TEXT NOT NULL,
    state TEXT NOT NULL,
    state_reason_code TEXT NOT NULL,
    state_reason TEXT NOT NULL,
    transition_reason TEXT NOT NULL,
    ended TEXT,
    tags TEXT NOT NULL,
    rebooting INTEGER NOT NULL,
    forced INTEGER NOT NULL,
    booted INTEGER NOT NULL,
    association_id TEXT,
    stop_protected INTEGER NOT NULL,
    placement_group TEXT NOT NULL,
    placement_group_id TEXT,
    partition INTEGER,
    spot_request_id TEXT,
    detailed_monitoring INTEGER NOT NULL,
    tenancy TEXT NOT NULL,
    host_id TEXT,
    affinity TEXT NOT NULL,
    instance_check TEXT,
    system_check TEXT
) STRICT;
CREATE INDEX instances_by_reservation ON instances (reservation_id);
-- Terminated instances stay for an hour: a list of those that run does not read them.
CREATE INDEX instances_by_state ON instances (state);
CREATE INDEX instances_by_end ON instances (ended) WHERE state = 'terminated';
-- Two servers on one uid range could reach into each other's disks.
CREATE UNIQUE INDEX instances_by_uid_base ON instances (uid_base) WHERE state != 'terminated';
CREATE UNIQUE INDEX instances_by_association ON instances (association_id);
CREATE INDEX instances_by_host ON instances (host_id) WHERE host_id IS NOT NULL;

CREATE TABLE consoles (
    instance_id TEXT PRIMARY KEY REFERENCES instances (id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;

-- The keys that EC2 Instance Connect opens servers to.
CREATE TABLE session_keys (
    instance_id TEXT NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    os_user TEXT NOT NULL,
    public_key TEXT NOT NULL,
    expires TEXT NOT NULL,
    PRIMARY KEY (instance_id, os_user, public_key)
) STRICT;
CREATE INDEX session_keys_by_expiry ON session_keys (expires);

CREATE TABLE key_pairs (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    public_key TEXT NOT NULL,
    created TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE images (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    root TEXT NOT NULL,
    size_gib INTEGER NOT NULL,
    created TEXT NOT NULL,
    architecture TEXT NOT NULL,
    owner TEXT NOT NULL,
    public INTEGER NOT NULL,
    state TEXT NOT NULL,
    state_reason TEXT NOT NULL,
    launch_users TEXT NOT NULL,
    source_instance_id TEXT,
    source_image_id TEXT,
    no_reboot INTEGER NOT NULL,
    tags TEXT NOT NULL,
    snapshot_id TEXT,
    devices TEXT NOT NULL,
    deprecates TEXT,
    protection TEXT NOT NULL,
    protected_until TEXT,
    last_launched TEXT
) STRICT;
-- A name is taken once an owner, and free again when its image is deregistered: that row stays until no server's disk
-- needs its root directory.
CREATE UNIQUE INDEX images_by_name ON images (owner, name) WHERE state != 'deregistered';

CREATE TABLE launch_templates (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created TEXT NOT NULL,
    created_by TEXT NOT NULL,
    default_number INTEGER NOT NULL,
    last_number INTEGER NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE launch_template_versions (
    template_id TEXT NOT NULL REFERENCES launch_templates (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    description TEXT NOT NULL,
    created TEXT NOT NULL,
    created_by TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (template_id, number)
) STRICT;

CREATE TABLE placement_groups (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    strategy TEXT NOT NULL,
    partitions INTEGER,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE dedicated_hosts (
    id TEXT PRIMARY KEY,
    family TEXT NOT NULL,
    type TEXT,
    zone TEXT NOT NULL,
    allocated TEXT NOT NULL,
    auto_placement TEXT NOT NULL,
    client_token TEXT,
    released TEXT,
    tags TEXT NOT NULL
) STRICT;


-- Volumes and snapshots

CREATE TABLE volumes (
    id TEXT PRIMARY KEY,
    size_gib INTEGER NOT NULL,
    zone TEXT NOT NULL,
    created TEXT NOT NULL,
    type TEXT NOT NULL,
    iops INTEGER,
    throughput INTEGER,
    snapshot_id TEXT,
    state TEXT NOT NULL,
    error TEXT NOT NULL,
    root INTEGER NOT NULL,
    auto_enable_io INTEGER NOT NULL,
    instance_id TEXT REFERENCES instances (id),
    device TEXT,
    attachment TEXT,
    attached TEXT,
    delete_on_termination INTEGER NOT NULL,
    forced INTEGER NOT NULL,
    modification TEXT,
    tags TEXT NOT NULL,
    UNIQUE (instance_id, device)
) STRICT;
CREATE INDEX volumes_by_state ON volumes (state);
-- Whoever writes down that an instance ended: its root volume goes with it, and its other volumes as they were told to.
CREATE TRIGGER volumes_lose_their_instance AFTER UPDATE OF state ON instances
WHEN NEW.state = 'terminated' AND OLD.state != 'terminated' BEGIN
    UPDATE volumes SET state = 'deleting' WHERE instance_id = NEW.id AND (delete_on_termination = 1 OR root = 1);
    UPDATE volumes SET state = 'available' WHERE instance_id = NEW.id AND state = 'in-use';
    UPDATE volumes SET instance_id = NULL, device = NULL, attachment = NULL, attached = NULL,
        delete_on_termination = 0, forced = 0
        WHERE instance_id = NEW.id;
END;

CREATE TABLE snapshots (
    id TEXT PRIMARY KEY,
    volume_id TEXT NOT NULL,
    size_gib INTEGER NOT NULL,
    started TEXT NOT NULL,
    description TEXT NOT NULL,
    state TEXT NOT NULL,
    message TEXT NOT NULL,
    completed TEXT,
    of_root INTEGER NOT NULL,
    root TEXT NOT NULL,
    source_id TEXT,
    image_id TEXT,
    users TEXT NOT NULL,
    public INTEGER NOT NULL,
    tags TEXT NOT NULL,
    set_id TEXT
) STRICT;


-- The market: prices, room, requests, fleets, and what ran

CREATE TABLE spot_prices (
    type TEXT NOT NULL,
    zone TEXT NOT NULL,
    since TEXT NOT NULL,
    price REAL NOT NULL,
    PRIMARY KEY (type, zone, since)
) STRICT;

-- How many there is room for.
CREATE TABLE capacities (
    type TEXT NOT NULL,
    zone TEXT NOT NULL,
    market TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (type, zone, market)
) STRICT;

-- How many the account may have.
CREATE TABLE vcpu_quotas (
    family TEXT NOT NULL,
    market TEXT NOT NULL,
    vcpus INTEGER NOT NULL,
    PRIMARY KEY (family, market)
) STRICT;

CREATE TABLE spot_requests (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    created TEXT NOT NULL,
    launch TEXT NOT NULL,
    instance_type TEXT NOT NULL,
    max_price REAL,
    behavior TEXT NOT NULL,
    state TEXT NOT NULL,
    status_code TEXT NOT NULL,
    status_message TEXT NOT NULL,
    status_updated TEXT NOT NULL,
    valid_from TEXT,
    valid_until TEXT,
    instance_id TEXT,
    zone TEXT,
    failures INTEGER NOT NULL,
    not_before TEXT,
    instance_tags TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE spot_notices (
    instance_id TEXT PRIMARY KEY REFERENCES instances (id) ON DELETE CASCADE,
    rebalance TEXT,
    noticed TEXT,
    due TEXT,
    cause TEXT NOT NULL
) STRICT;

CREATE TABLE fleets (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    state TEXT NOT NULL,
    created TEXT NOT NULL,
    configs TEXT NOT NULL,
    on_demand_target INTEGER NOT NULL,
    spot_target INTEGER NOT NULL,
    default_market TEXT NOT NULL,
    spot_options TEXT NOT NULL,
    on_demand_options TEXT NOT NULL,
    excess_policy TEXT NOT NULL,
    terminate_with_expiration INTEGER NOT NULL,
    replace_unhealthy INTEGER NOT NULL,
    valid_from TEXT,
    valid_until TEXT,
    client_token TEXT,
    context TEXT,
    tags TEXT NOT NULL,
    errors TEXT NOT NULL,
    trouble TEXT NOT NULL,
    failures INTEGER NOT NULL,
    retry_at TEXT,
    ended TEXT
) STRICT;

CREATE TABLE fleet_members (
    instance_id TEXT PRIMARY KEY,
    fleet_id TEXT NOT NULL,
    market TEXT NOT NULL,
    weight REAL NOT NULL,
    type TEXT NOT NULL,
    zone TEXT NOT NULL,
    source TEXT NOT NULL,
    launched TEXT NOT NULL,
    leaving INTEGER NOT NULL,
    terminate_at TEXT,
    ended TEXT
) STRICT;
CREATE INDEX fleet_members_by_fleet ON fleet_members (fleet_id);

CREATE TABLE fleet_events (
    fleet_id TEXT NOT NULL,
    at TEXT NOT NULL,
    type TEXT NOT NULL,
    sub_type TEXT NOT NULL,
    description TEXT NOT NULL,
    instance_id TEXT,
    number INTEGER PRIMARY KEY
) STRICT;
CREATE INDEX fleet_events_by_fleet ON fleet_events (fleet_id);

-- They stay when their term is over: bills go back to it.
CREATE TABLE reserved_instances (
    id TEXT PRIMARY KEY,
    offering_id TEXT NOT NULL,
    type TEXT NOT NULL,
    count INTEGER NOT NULL,
    start TEXT NOT NULL,
    "end" TEXT NOT NULL,
    zone TEXT,
    tenancy TEXT NOT NULL,
    offering_class TEXT NOT NULL,
    offering_type TEXT NOT NULL,
    fixed_price REAL NOT NULL,
    hourly_price REAL NOT NULL,
    tags TEXT NOT NULL
) STRICT;

-- What ran, and from when to when: the bill is drawn up from it.
CREATE TABLE usages (
    number INTEGER PRIMARY KEY,
    resource_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    began TEXT NOT NULL,
    started TEXT NOT NULL,
    ended TEXT,
    type TEXT NOT NULL,
    zone TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    iops INTEGER,
    throughput INTEGER,
    market TEXT NOT NULL,
    tenancy TEXT NOT NULL,
    host_id TEXT,
    instance_id TEXT,
    reason TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX usages_open ON usages (resource_id) WHERE ended IS NULL;
CREATE INDEX usages_by_end ON usages (ended);


-- Auto Scaling

CREATE TABLE launch_configurations (
    name TEXT PRIMARY KEY,
    arn TEXT NOT NULL UNIQUE,
    created TEXT NOT NULL,
    launch TEXT NOT NULL
) STRICT;

CREATE TABLE scaling_groups (
    name TEXT PRIMARY KEY,
    arn TEXT NOT NULL UNIQUE,
    created TEXT NOT NULL,
    min_size INTEGER NOT NULL,
    max_size INTEGER NOT NULL,
    desired INTEGER NOT NULL,
    template TEXT NOT NULL,
    subnets TEXT NOT NULL,
    zones TEXT NOT NULL,
    configuration TEXT NOT NULL,
    in_default_vpc INTEGER NOT NULL,
    cooldown INTEGER NOT NULL,
    grace INTEGER NOT NULL,
    warmup INTEGER,
    termination_policies TEXT NOT NULL,
    protects_new INTEGER NOT NULL,
    service_role TEXT NOT NULL,
    context TEXT NOT NULL,
    capacity_type TEXT NOT NULL,
    mixed TEXT NOT NULL,
    capacity_rebalance INTEGER NOT NULL,
    tags TEXT NOT NULL,
    suspended TEXT NOT NULL,
    deleting INTEGER NOT NULL,
    cause TEXT NOT NULL,
    failures INTEGER NOT NULL,
    retry TEXT,
    replacing INTEGER NOT NULL,
    scaled TEXT,
    scaling INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    overage INTEGER NOT NULL
) STRICT;

CREATE TABLE scaling_members (
    instance_id TEXT PRIMARY KEY,
    "group" TEXT NOT NULL REFERENCES scaling_groups (name),
    zone TEXT NOT NULL,
    subnet_id TEXT NOT NULL,
    type TEXT NOT NULL,
    image_id TEXT NOT NULL,
    state TEXT NOT NULL,
    activity_id TEXT NOT NULL,
    since TEXT NOT NULL,
    template TEXT NOT NULL,
    configuration TEXT NOT NULL,
    protected INTEGER NOT NULL,
    unhealthy TEXT NOT NULL,
    in_service TEXT,
    market TEXT NOT NULL,
    waits TEXT NOT NULL,
    weight INTEGER
) STRICT;
CREATE INDEX scaling_members_by_group ON scaling_members ("group");

CREATE TABLE scaling_activities (
    id TEXT PRIMARY KEY,
    "group" TEXT NOT NULL,
    group_arn TEXT NOT NULL,
    description TEXT NOT NULL,
    cause TEXT NOT NULL,
    started TEXT NOT NULL,
    status TEXT NOT NULL,
    details TEXT NOT NULL,
    message TEXT NOT NULL,
    progress INTEGER NOT NULL,
    ended TEXT
) STRICT;
CREATE INDEX scaling_activities_by_group ON scaling_activities ("group");

-- What its instances wait for before they come and go.
CREATE TABLE lifecycle_hooks (
    "group" TEXT NOT NULL REFERENCES scaling_groups (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    transition TEXT NOT NULL,
    heartbeat INTEGER NOT NULL,
    "default" TEXT NOT NULL,
    metadata TEXT NOT NULL,
    PRIMARY KEY ("group", name)
) STRICT;

-- When a group is given other sizes.
CREATE TABLE scheduled_actions (
    "group" TEXT NOT NULL REFERENCES scaling_groups (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    arn TEXT NOT NULL,
    start TEXT,
    "end" TEXT,
    recurrence TEXT NOT NULL,
    zone TEXT NOT NULL,
    min_size INTEGER,
    max_size INTEGER,
    desired INTEGER,
    due TEXT,
    PRIMARY KEY ("group", name)
) STRICT;

CREATE TABLE scaling_policies (
    "group" TEXT NOT NULL REFERENCES scaling_groups (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    arn TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    adjustment_type TEXT,
    adjustment INTEGER,
    min_magnitude INTEGER,
    cooldown INTEGER,
    steps TEXT NOT NULL,
    aggregation TEXT,
    warmup INTEGER,
    tracking TEXT NOT NULL,
    PRIMARY KEY ("group", name)
) STRICT;


-- CloudWatch

-- A row a metric and unit.
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    dimensions TEXT NOT NULL,
    unit TEXT NOT NULL,
    reported INTEGER NOT NULL,
    UNIQUE (namespace, name, dimensions, unit)
) STRICT;

-- A row for each second or minute of a metric.
CREATE TABLE metric_points (
    metric INTEGER NOT NULL REFERENCES metrics (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    count REAL NOT NULL,
    sum REAL NOT NULL,
    minimum REAL NOT NULL,
    maximum REAL NOT NULL,
    PRIMARY KEY (metric, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX metric_points_by_age ON metric_points (at);

-- `policy`: of an alarm that target tracking made for itself.
CREATE TABLE alarms (
    name TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    metric_name TEXT NOT NULL,
    dimensions TEXT NOT NULL,
    statistic TEXT NOT NULL,
    unit TEXT,
    period INTEGER NOT NULL,
    periods INTEGER NOT NULL,
    datapoints INTEGER,
    threshold REAL NOT NULL,
    comparison TEXT NOT NULL,
    missing TEXT,
    configured TEXT NOT NULL,
    updated TEXT NOT NULL,
    transitioned TEXT NOT NULL,
    description TEXT,
    actions_enabled INTEGER NOT NULL,
    ok_actions TEXT NOT NULL,
    alarm_actions TEXT NOT NULL,
    insufficient_data_actions TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    reason_data TEXT,
    acted TEXT,
    tags TEXT NOT NULL,
    policy TEXT REFERENCES scaling_policies (arn) ON DELETE CASCADE
) STRICT;

CREATE TABLE alarm_history (
    number INTEGER PRIMARY KEY,
    alarm TEXT NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    summary TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;

-- What alarms ask for that has not been done.
CREATE TABLE alarm_actions (
    number INTEGER PRIMARY KEY,
    alarm TEXT NOT NULL,
    arn TEXT NOT NULL,
    state TEXT NOT NULL,
    asked TEXT NOT NULL,
    metric_value REAL
) STRICT;


-- EventBridge Scheduler

CREATE TABLE schedule_groups (
    name TEXT PRIMARY KEY,
    arn TEXT NOT NULL,
    created TEXT NOT NULL,
    modified TEXT NOT NULL,
    tags TEXT NOT NULL,
    state TEXT NOT NULL
) STRICT;

CREATE TABLE schedules (
    "group" TEXT NOT NULL REFERENCES schedule_groups (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    arn TEXT NOT NULL,
    expression TEXT NOT NULL,
    zone TEXT NOT NULL,
    start TEXT,
    "end" TEXT,
    description TEXT,
    state TEXT NOT NULL,
    target TEXT NOT NULL,
    window INTEGER,
    after TEXT NOT NULL,
    created TEXT NOT NULL,
    modified TEXT NOT NULL,
    anchor TEXT NOT NULL,
    due TEXT,
    PRIMARY KEY ("group", name)
) STRICT;

CREATE TABLE schedule_invocations (
    id TEXT PRIMARY KEY,
    "group" TEXT NOT NULL,
    name TEXT NOT NULL,
    scheduled TEXT NOT NULL,
    due TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    FOREIGN KEY ("group", name) REFERENCES schedules ("group", name) ON DELETE CASCADE
) STRICT;
CREATE INDEX schedule_invocations_by_schedule ON schedule_invocations ("group", name);

CREATE TABLE schedule_tokens (
    operation TEXT NOT NULL,
    token TEXT NOT NULL,
    digest TEXT NOT NULL,
    result TEXT NOT NULL,
    used TEXT NOT NULL,
    PRIMARY KEY (operation, token)
) STRICT;

-- Calls of EventBridge Scheduler that were refused, as CloudTrail tells of them.
CREATE TABLE refused_calls (
    id TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    name TEXT NOT NULL,
    role_arn TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX refused_calls_by_time ON refused_calls (at);


-- S3

CREATE TABLE buckets (
    name TEXT PRIMARY KEY,
    region TEXT NOT NULL,
    created TEXT NOT NULL,
    owner TEXT NOT NULL,
    tags TEXT NOT NULL,
    versioning TEXT,
    ownership TEXT,
    public_access TEXT,
    bucket_key INTEGER NOT NULL,
    encryption_put INTEGER NOT NULL,
    cors TEXT NOT NULL,
    lifecycle TEXT NOT NULL,
    acl TEXT,
    archives_small INTEGER NOT NULL
) STRICT;

CREATE TABLE bucket_policies (
    bucket TEXT PRIMARY KEY REFERENCES buckets (name) ON DELETE CASCADE,
    document TEXT NOT NULL
) STRICT;

-- A row is a version. Keys compare as UTF-8 bytes, and newest first: the order in which S3 lists them.
CREATE TABLE objects (
    bucket TEXT NOT NULL REFERENCES buckets (name),
    key TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified TEXT NOT NULL,
    content_type TEXT NOT NULL,
    headers TEXT NOT NULL,
    metadata TEXT NOT NULL,
    checksums TEXT NOT NULL,
    checksum_type TEXT NOT NULL,
    tags TEXT NOT NULL,
    upload_id TEXT,
    sequence INTEGER NOT NULL,
    version TEXT NOT NULL,
    latest INTEGER NOT NULL,
    delete_marker INTEGER NOT NULL,
    acl TEXT,
    storage_class TEXT NOT NULL,
    restored_until TEXT,
    -- At the end: what else there is of a version is read without them.
    extents TEXT NOT NULL,
    parts TEXT NOT NULL,
    PRIMARY KEY (bucket, key, sequence DESC)
) STRICT;
-- What ListObjects walks along; it also holds that a key has one latest version.
CREATE UNIQUE INDEX objects_latest ON objects (bucket, key) WHERE latest = 1;
CREATE UNIQUE INDEX objects_without_id ON objects (bucket, key) WHERE version = 'null';

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    bucket TEXT NOT NULL REFERENCES buckets (name),
    key TEXT NOT NULL,
    started TEXT NOT NULL,
    initiator TEXT NOT NULL,
    content_type TEXT NOT NULL,
    headers TEXT NOT NULL,
    metadata TEXT NOT NULL,
    checksum_algorithm TEXT,
    checksum_type TEXT NOT NULL,
    tags TEXT NOT NULL,
    deletions INTEGER NOT NULL,
    acl TEXT,
    storage_class TEXT NOT NULL
) STRICT;
CREATE INDEX uploads_by_key ON uploads (bucket, key, id);

-- How often keys were deleted while uploads to them are under way.
CREATE TABLE key_deletions (
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (bucket, key)
) STRICT;
CREATE TRIGGER key_deletions_end_with_the_uploads AFTER DELETE ON uploads
WHEN NOT EXISTS (SELECT 1 FROM uploads WHERE bucket = OLD.bucket AND key = OLD.key) BEGIN
    DELETE FROM key_deletions WHERE bucket = OLD.bucket AND key = OLD.key;
END;

CREATE TABLE parts (
    upload_id TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    size INTEGER NOT NULL,
    md5 TEXT NOT NULL,
    modified TEXT NOT NULL,
    extents TEXT NOT NULL,
    checksums TEXT NOT NULL,
    PRIMARY KEY (upload_id, number)
) STRICT;

-- Bodies that are too small to be worth a file. Objects and parts name them by number; a number is never given twice,
-- so that whoever remembers one cannot find other bytes under it.
CREATE TABLE small_bodies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    data BLOB NOT NULL
) STRICT;


-- Systems Manager

CREATE TABLE parameters (
    name TEXT PRIMARY KEY,
    latest INTEGER NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE parameter_versions (
    name TEXT NOT NULL REFERENCES parameters (name) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    modified TEXT NOT NULL,
    modified_by TEXT NOT NULL,
    tier TEXT NOT NULL,
    data_type TEXT NOT NULL,
    description TEXT,
    labels TEXT NOT NULL,
    PRIMARY KEY (name, number)
) STRICT;

CREATE TABLE commands (
    id TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    document_version TEXT NOT NULL,
    parameters TEXT NOT NULL,
    requested TEXT NOT NULL,
    expires TEXT NOT NULL,
    timeout INTEGER NOT NULL,
    comment TEXT NOT NULL,
    instance_ids TEXT NOT NULL,
    targets TEXT NOT NULL,
    bucket TEXT NOT NULL,
    prefix TEXT NOT NULL,
    max_concurrency TEXT NOT NULL,
    max_errors TEXT NOT NULL
) STRICT;

CREATE TABLE command_invocations (
    command_id TEXT NOT NULL REFERENCES commands (id) ON DELETE CASCADE,
    instance_id TEXT NOT NULL,
    status TEXT NOT NULL,
    details TEXT NOT NULL,
    code INTEGER NOT NULL,
    begun TEXT,
    ended TEXT,
    stdout TEXT NOT NULL,
    stderr TEXT NOT NULL,
    PRIMARY KEY (command_id, instance_id)
) STRICT;
-- What is not done yet is looked for with every step of the loops.
CREATE INDEX command_invocations_by_status ON command_invocations (status);
