-- The tenants of a class, and the tenants that name an app: a write asks for them, and decodes no
-- others.
CREATE INDEX object_class ON object (kind, json_extract(spec, '$.class'), name);
-- An app is named as a text, or as `name` in a mapping.
CREATE INDEX object_app ON object
    (kind, coalesce(json_extract(spec, '$.app.name'), json_extract(spec, '$.app')), name);
