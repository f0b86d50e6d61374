-- The market: what a server costs on the spot, how many there is room for, how many the account may have.
CREATE TABLE spot_prices (
    type TEXT NOT NULL,
    zone TEXT NOT NULL,
    since TEXT NOT NULL,
    price REAL NOT NULL,
    PRIMARY KEY (type, zone, since)
) STRICT;

CREATE TABLE capacities (
    type TEXT NOT NULL,
    zone TEXT NOT NULL,
    market TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (type, zone, market)
) STRICT;

CREATE TABLE vcpu_quotas (
    family TEXT NOT NULL,
    market TEXT NOT NULL,
    vcpus INTEGER NOT NULL,
    PRIMARY KEY (family, market)
) STRICT;

-- Requests for spot instances, and the notices that these are given.
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
    launch_group TEXT,
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

ALTER TABLE instances ADD COLUMN spot_request_id TEXT;
