-- Credentials that the platform shows once: deploy tokens, and keys of buckets.
CREATE TABLE credential (
    -- deploy-token, access-key.
    kind         TEXT    NOT NULL,
    tenant_uid   TEXT    NOT NULL,
    -- At the platform it is called vault/TENANT_UID/N.
    n            INTEGER NOT NULL,
    tenant       TEXT    NOT NULL,
    -- As the manifest calls it.
    name         TEXT    NOT NULL,
    organization TEXT    NOT NULL,
    app          TEXT    NOT NULL,
    -- minting (sent, no answer yet), live (its value is below).
    state        TEXT    NOT NULL,
    -- The platform's id, once it is live.
    external_id  TEXT,
    -- When its creation was sent; if the answer was lost, when that was known.
    sent_at      INTEGER NOT NULL,
    live_at      INTEGER,
    expires_at   INTEGER,
    -- Encrypted under the master key, and bound to kind, tenant_uid, name and n.
    sealed       BLOB,
    PRIMARY KEY (kind, tenant_uid, n)
) STRICT, WITHOUT ROWID;

-- The highest number that was ever used: none is used twice, whatever became of the first.
CREATE TABLE credential_number (
    kind       TEXT    NOT NULL,
    tenant_uid TEXT    NOT NULL,
    last_n     INTEGER NOT NULL,
    PRIMARY KEY (kind, tenant_uid)
) STRICT, WITHOUT ROWID;
