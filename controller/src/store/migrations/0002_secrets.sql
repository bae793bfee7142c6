-- What is known of the app secrets that we set. No value stands here: values are derived.
CREATE TABLE secret (
    app     TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    -- set (by us), changed or missing (by somebody else).
    state   TEXT    NOT NULL,
    -- Our keyed hash of the value, while the state is set.
    hash    TEXT,
    -- The platform's digest as it was last told, opaque.
    digest  TEXT,
    -- The version of the app's secrets that our write made.
    version INTEGER,
    read_at INTEGER NOT NULL,
    PRIMARY KEY (app, name)
) STRICT, WITHOUT ROWID;
