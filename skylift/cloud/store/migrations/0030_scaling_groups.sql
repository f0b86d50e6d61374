-- Auto Scaling groups, the instances that are theirs, and what they did.
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
    in_default_vpc INTEGER NOT NULL,
    cooldown INTEGER NOT NULL,
    grace INTEGER NOT NULL,
    warmup INTEGER,
    termination_policies TEXT NOT NULL,
    protects_new INTEGER NOT NULL,
    service_role TEXT NOT NULL,
    context TEXT NOT NULL,
    mixed TEXT NOT NULL,
    capacity_rebalance INTEGER NOT NULL,
    tags TEXT NOT NULL,
    suspended TEXT NOT NULL,
    deleting INTEGER NOT NULL,
    cause TEXT NOT NULL,
    failures INTEGER NOT NULL,
    retry TEXT,
    replacing INTEGER NOT NULL,
    scaled TEXT
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
    protected INTEGER NOT NULL,
    unhealthy TEXT NOT NULL,
    in_service TEXT,
    market TEXT NOT NULL,
    waits TEXT NOT NULL
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

-- What its instances wait for before they come and go, and when it is given other sizes.
CREATE TABLE lifecycle_hooks (
    "group" TEXT NOT NULL REFERENCES scaling_groups (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    transition TEXT NOT NULL,
    heartbeat INTEGER NOT NULL,
    "default" TEXT NOT NULL,
    metadata TEXT NOT NULL,
    PRIMARY KEY ("group", name)
) STRICT;

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
