-- name: are_there
SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'parts');

-- name: begin
-- What was begun before and never finished is nobody's any more.
WITH given_up AS (
    DELETE FROM snapshots WHERE partition = $1 AND until IS NULL
)
INSERT INTO snapshots (partition, log, form, sequence, event) VALUES ($1, $2, $3, $4, $5)
RETURNING snapshot;

-- name: add
INSERT INTO parts (snapshot, n, digest, data) VALUES ($1, $2, $3, $4);

-- name: finish
UPDATE snapshots
SET until = $2, until_event = $3, evicted = $4, quarantined = $5, parts = $6, ended_at = now()
WHERE snapshot = $1
RETURNING snapshot;

-- name: forget
-- Those that were begun at an earlier event: whoever still writes one has lost the partition.
DELETE FROM snapshots AS old USING snapshots AS new
WHERE new.snapshot = $1 AND old.partition = new.partition AND old.snapshot < new.snapshot
  AND old.sequence <= new.sequence;

-- name: latest
SELECT snapshot, log, form, sequence, event, until, until_event, evicted, quarantined, parts
FROM snapshots WHERE partition = $1 AND until IS NOT NULL
ORDER BY sequence DESC, snapshot DESC LIMIT 1;

-- name: part
SELECT digest, data FROM parts WHERE snapshot = $1 AND n = $2;
