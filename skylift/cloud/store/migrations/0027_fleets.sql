-- EC2 Fleets, the instances that they launched, and their history.
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
