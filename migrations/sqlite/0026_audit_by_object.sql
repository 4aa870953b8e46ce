-- What happened to one thing, by its key and by its id, newest first.
CREATE INDEX audit_log_by_object ON audit_log (tenant_id, object, at, entry_id);
CREATE INDEX audit_log_by_object_id ON audit_log (tenant_id, object_id, at, entry_id) WHERE object_id IS NOT NULL;
