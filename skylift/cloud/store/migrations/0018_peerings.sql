-- Peering connections between VPCs.
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
