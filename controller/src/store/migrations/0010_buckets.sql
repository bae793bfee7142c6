-- The policies of tenants' access keys, as we put them: no list of the platform shows what they say.
CREATE TABLE bucket_policy (
    tenant_uid TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    -- The platform's id of the key that it is attached to.
    key_id     TEXT    NOT NULL,
    document   TEXT    NOT NULL,
    -- 1 if somebody else has changed it, or detached it, since.
    changed    INTEGER NOT NULL,
    -- When it was put, or last looked at.
    read_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
