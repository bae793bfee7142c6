-- What a person on call wants to know of an intent, besides what settling needs.
ALTER TABLE intent ADD COLUMN spec_hash   TEXT;
-- When the call was begun; `sent_at` moves when an answer is lost.
ALTER TABLE intent ADD COLUMN called_at   INTEGER;
-- When it was known what the platform said, or that it said nothing.
ALTER TABLE intent ADD COLUMN answered_at INTEGER;
-- When its effect was seen, or it was given up.
ALTER TABLE intent ADD COLUMN closed_at   INTEGER;
-- JSON: each attempt with method, path template, status, kind of failure and request id.
ALTER TABLE intent ADD COLUMN calls       TEXT;

CREATE INDEX intent_tenant ON intent (tenant, id);

-- The version (`instance_id`) of each machine that we wrote or looked at, the intent that its
-- metadata named then, and (JSON) which members of ours somebody else had changed in it.
CREATE TABLE machine_version (
    machine_id TEXT PRIMARY KEY,
    version    TEXT NOT NULL,
    intent     TEXT NOT NULL,
    edited     TEXT
) STRICT, WITHOUT ROWID;
