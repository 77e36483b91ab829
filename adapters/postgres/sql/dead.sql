-- name: of_log
-- Letters of a log that is here.
SELECT partition, position AS place, dead_at AS at, 'command' AS kind, NULL AS topic,
       partition AS of, position, stream, topic AS type, id::text AS command, actor, reason,
       octet_length(data) AS size, settled_how, settled_by, settled_at, settled_why
FROM dead_letters

-- name: of_index
-- Letters that lie elsewhere.
SELECT partition, place, at, kind, topic, of, position, stream, type, command, actor, reason, size,
       settled_how, settled_by, settled_at, settled_why
FROM letters

-- name: page
SELECT * FROM (/* letters */) AS letters WHERE /* conditions */
ORDER BY at DESC, partition DESC, place DESC

-- name: letter
SELECT * FROM (/* letters */) AS letters WHERE partition = $1 AND place = $2

-- name: count
SELECT partition, count(*) AS count FROM (/* letters */) AS letters
WHERE settled_at IS NULL GROUP BY partition

-- name: command
SELECT id, stream, topic, schema, actor, reply_to, traceparent, data
FROM dead_letters WHERE partition = $1 AND position = $2;

-- name: content
SELECT substring(data FOR $3) FROM dead_letters WHERE partition = $1 AND position = $2;

-- name: settle
-- Who comes first settles it.
UPDATE dead_letters
SET settled_at = clock_timestamp(), settled_how = $3, settled_by = $4, settled_why = $5
WHERE partition = $1 AND position = $2 AND settled_at IS NULL RETURNING position;

-- name: read_to
SELECT partition, sequence FROM partitions;

-- name: read_on
-- Compare-and-set: who has read the same meanwhile has written the same rows.
UPDATE partitions SET sequence = $3 WHERE partition = $1 AND sequence = $2 RETURNING partition;

-- name: add
INSERT INTO letters (partition, place, at, kind, topic, of, position, stream, type, command, actor,
                     reason, size)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: settle_in_index
-- The first one counts; of a letter that is not there, none does.
UPDATE letters
SET settled_in = $3, settled_how = $4, settled_by = $5, settled_at = $6, settled_why = $7
WHERE partition = $1 AND place = $2 AND settled_at IS NULL;

-- name: settled_in
SELECT settled_in FROM letters WHERE partition = $1 AND place = $2;

-- name: forget
DELETE FROM letters WHERE partition = $1;
