-- What stands between a volume or an app that nobody wants any more and its deletion; and what a
-- deleted tenant was, so that it can come back.
CREATE TABLE tombstone (
    -- volume or tenant.
    kind         TEXT    NOT NULL,
    -- Fly's id of the volume; of a tenant, its name.
    id           TEXT    NOT NULL,
    tenant       TEXT    NOT NULL,
    uid          TEXT    NOT NULL,
    organization TEXT    NOT NULL,
    app          TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    region       TEXT    NOT NULL,
    size_gb      INTEGER NOT NULL,
    machine      TEXT    NOT NULL,
    template     TEXT    NOT NULL,
    policy       TEXT    NOT NULL,
    -- deleted (with its tenant) or unwanted (by its manifest).
    cause        TEXT    NOT NULL,
    snapshot     TEXT,
    made_at      INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    sightings    INTEGER NOT NULL,
    seen_at      INTEGER,
    -- standing, acting or ended.
    state        TEXT    NOT NULL,
    ended_at     INTEGER,
    outcome      TEXT,
    -- The deleted tenant's object, as it was.
    body         TEXT,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstone_tenant ON tombstone (tenant);
