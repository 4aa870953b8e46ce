-- Feedback by its score, as searches ask for it. The score is read from the record itself, so that it is right whichever
-- version wrote it.
CREATE INDEX feedback_by_score ON feedback
    (tenant_id, key, CASE WHEN json_valid(body) THEN json_extract(body, '$.score') END, run_id) WHERE run_id IS NOT NULL;
