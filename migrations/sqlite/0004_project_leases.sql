-- PostgreSQL gains a table of the projects that schedulers hold for a moment. The one process that has this file keeps
-- that in memory.
SELECT 1;
