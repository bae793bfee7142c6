-- One counter for all resourceVersions: begun at Unix milliseconds << 16.
CREATE TABLE counter (
    value INTEGER NOT NULL
) STRICT;

-- Tenants and classes as they were written, with what the controller keeps about them.
CREATE TABLE object (
    kind             TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    uid              TEXT    NOT NULL,
    generation       INTEGER NOT NULL,
    resource_version INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    deleted_at       INTEGER,
    source           TEXT    NOT NULL,
    metadata         TEXT    NOT NULL,
    spec             TEXT    NOT NULL,
    status           TEXT,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- Each outward write, before it is sent and until its effect has been seen.
CREATE TABLE intent (
    id            TEXT    PRIMARY KEY,
    tenant        TEXT    NOT NULL,
    organization  TEXT    NOT NULL,
    app           TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    external_name TEXT    NOT NULL,
    external_id   TEXT,
    state         TEXT    NOT NULL,
    planned_at    INTEGER NOT NULL,
    sent_at       INTEGER,
    outcome       TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX intent_open ON intent (id) WHERE state IN ('planned', 'sent', 'acked');

CREATE TABLE event (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    tenant  TEXT    NOT NULL,
    warning INTEGER NOT NULL,
    reason  TEXT    NOT NULL,
    message TEXT    NOT NULL
) STRICT;

CREATE INDEX event_tenant ON event (tenant, id);
