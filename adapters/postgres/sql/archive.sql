-- name: events
SELECT sequence, originator_id, originator_version, topic, schemaversion, id, causationid, time,
       actor, upto, traceparent, state
FROM events
WHERE originator_id = $1 AND originator_version > $2
  AND ($4::integer IS NULL OR originator_version <= $4)
  AND ($5::timestamptz IS NULL OR time <= $5)
ORDER BY originator_version LIMIT $3;

-- name: position
SELECT sequence FROM partitions WHERE partition = $1;

-- name: of_streams
SELECT sequence, originator_id, originator_version, topic, schemaversion, id, causationid, time,
       actor, upto, traceparent, state
FROM events
WHERE originator_id = ANY ($1::text[]) AND sequence <= $2
  AND (originator_id, originator_version) > ($3, $4)
ORDER BY originator_id, originator_version LIMIT $5;
