-- Facts about this cloud: one row.
CREATE TABLE cloud_facts (
    account TEXT PRIMARY KEY,
    region TEXT NOT NULL,
    loopback_net INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    reserved_uids TEXT NOT NULL,
    public_ips_given INTEGER NOT NULL
);

CREATE TABLE vpcs (
    id TEXT PRIMARY KEY,
    cidr TEXT NOT NULL,
    is_default INTEGER NOT NULL,
    dns_support INTEGER NOT NULL,
    dns_hostnames INTEGER NOT NULL,
    dhcp_options_id TEXT NOT NULL,
    tags TEXT NOT NULL
);
CREATE UNIQUE INDEX one_default_vpc ON vpcs (is_default) WHERE is_default = 1;

CREATE TABLE subnets (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL REFERENCES vpcs (id),
    cidr TEXT NOT NULL,
    zone TEXT NOT NULL,
    map_public_ip INTEGER NOT NULL,
    default_for_zone INTEGER NOT NULL,
    tags TEXT NOT NULL
);
CREATE INDEX subnets_by_vpc ON subnets (vpc_id);

CREATE TABLE internet_gateways (
    id TEXT PRIMARY KEY,
    vpc_id TEXT UNIQUE REFERENCES vpcs (id),
    tags TEXT NOT NULL
);

CREATE TABLE route_tables (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL REFERENCES vpcs (id),
    routes TEXT NOT NULL,
    associations TEXT NOT NULL,
    tags TEXT NOT NULL
);
CREATE INDEX route_tables_by_vpc ON route_tables (vpc_id);

CREATE TABLE security_groups (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL REFERENCES vpcs (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    rules TEXT NOT NULL,
    tags TEXT NOT NULL,
    UNIQUE (vpc_id, name)
);

-- Interfaces go when their instance is terminated, so a row here always has a subnet; an instance need not.
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
    UNIQUE (subnet_id, private_ip)
);
CREATE INDEX network_interfaces_by_instance ON network_interfaces (instance_id);

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
    root_gib INTEGER NOT NULL,
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
    tags TEXT NOT NULL
);
CREATE INDEX instances_by_reservation ON instances (reservation_id);
-- Two servers on one uid range could reach into each other's disks.
CREATE UNIQUE INDEX instances_by_uid_base ON instances (uid_base) WHERE state != 'terminated';

CREATE TABLE volumes (
    id TEXT PRIMARY KEY,
    instance_id TEXT NOT NULL REFERENCES instances (id),
    device TEXT NOT NULL,
    size_gib INTEGER NOT NULL,
    zone TEXT NOT NULL,
    created TEXT NOT NULL,
    tags TEXT NOT NULL
);
CREATE INDEX volumes_by_instance ON volumes (instance_id);
-- The root volume goes with its instance, whoever writes down that it ended.
CREATE TRIGGER root_volume_ends AFTER UPDATE OF state ON instances WHEN NEW.state = 'terminated' BEGIN
    DELETE FROM volumes WHERE instance_id = NEW.id;
END;

CREATE TABLE consoles (
    instance_id TEXT PRIMARY KEY REFERENCES instances (id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    at TEXT NOT NULL
);

CREATE TABLE images (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    root TEXT NOT NULL,
    size_gib INTEGER NOT NULL,
    created TEXT NOT NULL,
    architecture TEXT NOT NULL,
    owner TEXT NOT NULL,
    public INTEGER NOT NULL,
    tags TEXT NOT NULL
);

CREATE TABLE key_pairs (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    public_key TEXT NOT NULL,
    created TEXT NOT NULL,
    tags TEXT NOT NULL
);

CREATE TABLE client_tokens (
    operation TEXT NOT NULL,
    token TEXT NOT NULL,
    digest TEXT NOT NULL,
    result TEXT NOT NULL,
    PRIMARY KEY (operation, token)
);
