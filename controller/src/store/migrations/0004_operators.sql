-- Operator tokens besides the controller's own. No token stands here, only its SHA-256 digest.
CREATE TABLE operator (
    name             TEXT    PRIMARY KEY,
    digest           BLOB    NOT NULL UNIQUE,
    role             TEXT    NOT NULL,
    -- A label selector; absent if the token may see all tenants.
    selector         TEXT,
    resource_version INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER,
    -- To the hour.
    used_at          INTEGER
) STRICT, WITHOUT ROWID;

-- One row per write request, the oldest go.
CREATE TABLE audit (
    id          INTEGER PRIMARY KEY,
    at          INTEGER NOT NULL,
    who         TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    verb        TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    subresource TEXT    NOT NULL,
    dry_run     INTEGER NOT NULL,
    code        INTEGER NOT NULL,
    message     TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_tenant ON audit (kind, name, id);

-- What holds a tenant back while its machines are taken down is a finalizer from now on.
UPDATE object SET metadata = json_set(metadata, '$.finalizers', json('["vaultctl.dev/teardown"]'))
    WHERE kind = 'Tenant' AND deleted_at IS NOT NULL;
