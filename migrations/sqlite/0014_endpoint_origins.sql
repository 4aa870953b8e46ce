-- An endpoint without an origin was made through the API. Those that are stored without one came from files before files
-- were remembered.
UPDATE endpoints SET origin = 'a rule file' WHERE origin IS NULL;
