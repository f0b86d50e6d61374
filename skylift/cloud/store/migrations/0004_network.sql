-- Elastic IPs, NAT gateways, network ACLs, further ranges of a VPC.
ALTER TABLE vpcs ADD COLUMN more_cidrs TEXT NOT NULL DEFAULT '[]';

ALTER TABLE network_interfaces ADD COLUMN kind TEXT NOT NULL DEFAULT 'interface';

CREATE TABLE addresses (
    id TEXT PRIMARY KEY,
    public_ip TEXT NOT NULL UNIQUE,
    association_id TEXT UNIQUE,
    interface_id TEXT UNIQUE REFERENCES network_interfaces (id),
    private_ip TEXT,
    tags TEXT NOT NULL
);

-- A deleted one is still described for an hour, so it refers to nothing that has to be there.
CREATE TABLE nat_gateways (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL,
    subnet_id TEXT NOT NULL,
    interface_id TEXT NOT NULL,
    private_ip TEXT NOT NULL,
    public_ip TEXT NOT NULL,
    allocation_id TEXT NOT NULL,
    association_id TEXT NOT NULL,
    created TEXT NOT NULL,
    state TEXT NOT NULL,
    deleted TEXT,
    tags TEXT NOT NULL
);
CREATE INDEX nat_gateways_by_vpc ON nat_gateways (vpc_id);

CREATE TABLE network_acls (
    id TEXT PRIMARY KEY,
    vpc_id TEXT NOT NULL REFERENCES vpcs (id),
    is_default INTEGER NOT NULL,
    entries TEXT NOT NULL,
    associations TEXT NOT NULL,
    tags TEXT NOT NULL
);
CREATE INDEX network_acls_by_vpc ON network_acls (vpc_id);
CREATE UNIQUE INDEX one_default_acl ON network_acls (vpc_id) WHERE is_default = 1;

-- The VPCs that are there get what every VPC has: a default ACL that lets everything through, for all their subnets.
INSERT INTO network_acls (id, vpc_id, is_default, entries, associations, tags)
SELECT
    'acl-' || substr(lower(hex(randomblob(9))), 1, 17),
    vpcs.id,
    1,
    '[{"number":100,"egress":false,"protocol":"-1","from_port":-1,"to_port":-1,"allow":true,"cidr":"0.0.0.0/0","cidr6":null},'
    || '{"number":100,"egress":true,"protocol":"-1","from_port":-1,"to_port":-1,"allow":true,"cidr":"0.0.0.0/0","cidr6":null}]',
    (
        SELECT json_group_array(
            json_object('id', 'aclassoc-' || substr(lower(hex(randomblob(9))), 1, 17), 'subnet_id', subnets.id)
        )
        FROM subnets WHERE subnets.vpc_id = vpcs.id
    ),
    '{}'
FROM vpcs;
