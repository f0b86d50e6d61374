-- Users' passwords, what the account asks of them, and the report about all credentials.
ALTER TABLE accounts ADD COLUMN passwords TEXT;

CREATE TABLE login_profiles (
    user TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    changed TEXT NOT NULL,
    password TEXT NOT NULL,
    earlier TEXT NOT NULL,
    reset_required INTEGER NOT NULL
) STRICT;

CREATE TABLE credential_reports (
    account TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    generated TEXT NOT NULL
) STRICT;
