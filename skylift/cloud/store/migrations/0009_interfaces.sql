-- Network interfaces by themselves: attached and detached, with further addresses; DHCP options.
ALTER TABLE network_interfaces ADD COLUMN secondary TEXT NOT NULL DEFAULT '[]';
ALTER TABLE network_interfaces ADD COLUMN attachment TEXT NOT NULL DEFAULT 'detached';
ALTER TABLE network_interfaces ADD COLUMN attached TEXT;
UPDATE network_interfaces SET attachment = 'attached', attached = created WHERE attachment_id IS NOT NULL;
CREATE INDEX network_interfaces_by_attachment ON network_interfaces (attachment);
-- A server has one interface at each of its indexes.
CREATE UNIQUE INDEX network_interfaces_by_index ON network_interfaces (instance_id, "index")
    WHERE instance_id IS NOT NULL;

-- An interface may have an Elastic IP at each of its addresses.
CREATE TABLE addresses_of_interfaces (
    id TEXT PRIMARY KEY,
    public_ip TEXT NOT NULL UNIQUE,
    association_id TEXT UNIQUE,
    interface_id TEXT REFERENCES network_interfaces (id),
    private_ip TEXT,
    tags TEXT NOT NULL
);
INSERT INTO addresses_of_interfaces SELECT id, public_ip, association_id, interface_id, private_ip, tags FROM addresses;
DROP TABLE addresses;
ALTER TABLE addresses_of_interfaces RENAME TO addresses;
CREATE UNIQUE INDEX addresses_by_private_ip ON addresses (interface_id, private_ip) WHERE interface_id IS NOT NULL;

CREATE TABLE dhcp_options (
    id TEXT PRIMARY KEY,
    configurations TEXT NOT NULL,
    tags TEXT NOT NULL
);
-- The VPCs that are there got what EC2 gives every VPC.
INSERT INTO dhcp_options (id, configurations, tags)
SELECT
    'dopt-' || substr(lower(hex(randomblob(9))), 1, 17),
    json_object(
        'domain-name',
        json_array(CASE region WHEN 'us-east-1' THEN 'ec2.internal' ELSE region || '.compute.internal' END),
        'domain-name-servers',
        json_array('AmazonProvidedDNS')
    ),
    '{}'
FROM cloud_facts;
UPDATE vpcs SET dhcp_options_id = (SELECT id FROM dhcp_options) WHERE EXISTS (SELECT id FROM dhcp_options);
