-- What servers may reach of the networks around this machine, as its owner asked for it.
ALTER TABLE cloud_facts ADD COLUMN allowed TEXT NOT NULL DEFAULT '[]';
