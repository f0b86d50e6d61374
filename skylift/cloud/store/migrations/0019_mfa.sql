-- Virtual MFA devices, and when one stood behind temporary credentials.
CREATE TABLE mfa_devices (
    serial TEXT PRIMARY KEY,
    seed TEXT NOT NULL,
    created TEXT NOT NULL,
    user_id TEXT,
    enabled TEXT,
    last_step INTEGER NOT NULL,
    tags TEXT NOT NULL
) STRICT;

ALTER TABLE sessions ADD COLUMN mfa TEXT;
