-- Purchases of reserved instances. They stay when their term is over: bills go back to it.
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
