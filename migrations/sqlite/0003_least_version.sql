-- The least version a binary must know to use this schema. A migration that leaves nothing for older binaries to stumble
-- over leaves it alone; one that does raises it to its own number:
--   UPDATE counters SET value = 42 WHERE name = 'least_version';
INSERT INTO counters (name, value) VALUES ('least_version', 3);
