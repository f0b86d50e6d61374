-- Auto Scaling's policies, and the alarms that target tracking makes for itself.
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

ALTER TABLE alarms ADD COLUMN policy TEXT REFERENCES scaling_policies (arn) ON DELETE CASCADE;
