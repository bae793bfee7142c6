-- The counter's value when an object was made: what a watcher saw before that did not hold it.
-- Objects of older databases were there before every watcher.
ALTER TABLE object ADD COLUMN created_version INTEGER NOT NULL DEFAULT 0;

-- What changed after a version; it covers counting, too.
CREATE INDEX object_version ON object (kind, resource_version);

-- What the object table does not tell about the past: removed objects as they last were, and the
-- labels that an object had before they were changed. Bounded; the oldest go.
CREATE TABLE history (
    version         INTEGER PRIMARY KEY,
    kind            TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    -- Of a removed object; NULL if this row is about labels.
    created_version INTEGER,
    -- A removed object, or labels, as JSON.
    body            TEXT    NOT NULL
) STRICT;

CREATE INDEX history_object ON history (kind, version);

-- Changes up to this version may be missing from the history.
CREATE TABLE horizon (
    version INTEGER NOT NULL
) STRICT;

INSERT INTO horizon (version) SELECT coalesce(max(value), 0) FROM counter;

-- The counter's value when an event was kept.
ALTER TABLE event ADD COLUMN version INTEGER NOT NULL DEFAULT 0;

CREATE INDEX event_version ON event (version);
