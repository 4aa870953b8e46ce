-- What an API key is for. Keys that were made without saying so are for everything.
ALTER TABLE api_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT 'ingest,read,manage';
