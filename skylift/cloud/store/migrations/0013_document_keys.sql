-- What vouches for instances' identity documents.
CREATE TABLE document_keys (
    account TEXT PRIMARY KEY,
    private_key TEXT NOT NULL,
    certificate TEXT NOT NULL,
    created TEXT NOT NULL
) STRICT;
