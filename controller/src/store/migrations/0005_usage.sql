-- When each machine of ours ran; kept after its end for the retention.
CREATE TABLE usage_fact (
    machine_id   TEXT    PRIMARY KEY,
    tenant       TEXT    NOT NULL,
    organization TEXT    NOT NULL,
    app          TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    region       TEXT    NOT NULL,
    instance_id  TEXT,
    started_at   INTEGER,
    stopped_at   INTEGER,
    deleted_at   INTEGER,
    -- Missing once, and not yet twice.
    absent_since INTEGER,
    -- JSON: an object of texts, and a list of {volume_id, size_gib}.
    metadata     TEXT    NOT NULL,
    volumes      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_fact_tenant ON usage_fact (tenant, machine_id);
-- Each pass reads the machines that exist, however many are remembered.
CREATE INDEX usage_fact_live ON usage_fact (machine_id) WHERE deleted_at IS NULL;
CREATE INDEX usage_fact_deleted ON usage_fact (deleted_at) WHERE deleted_at IS NOT NULL;
