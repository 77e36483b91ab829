-- name: select_events
SELECT sequence, originator_id, originator_version, topic, schemaversion, id, causationid, time,
       actor, traceparent, state
FROM events
WHERE partition = $1 AND originator_id = $2
  AND originator_version > coalesce($3::bigint, -1)
  AND originator_version <= coalesce($4::bigint, 2147483647)
ORDER BY originator_version {direction} LIMIT $5;

-- name: select_notifications
SELECT sequence, originator_id, originator_version, topic, schemaversion, id, causationid, time,
       actor, traceparent, state
FROM events
WHERE partition = $1 AND sequence >= $2 AND sequence <= coalesce($3::bigint, 9223372036854775807)
  AND (topic = ANY ($4::text[]) OR cardinality($4::text[]) = 0)
ORDER BY sequence LIMIT $5;

-- name: heads
-- Locked in one order by everybody, so that two writers never wait for each other.
SELECT partition, sequence, owner, owned_till > clock_timestamp() AS owned
FROM partitions WHERE partition = ANY ($1::integer[]) ORDER BY partition FOR UPDATE;

-- name: insert_events
-- The heads are locked. An engine whose lease has lapsed must not go on with its memory: the
-- epoch fences it.
WITH recorded AS (
    INSERT INTO events (partition, sequence, originator_id, originator_version, topic,
                        schemaversion, id, causationid, time, actor, traceparent, state)
    SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::integer[], $5::text[],
                         $6::smallint[], $7::uuid[], $8::uuid[], $9::timestamptz[], $10::text[],
                         $11::text[], $12::bytea[])
), head AS (
    UPDATE partitions AS p
    SET sequence = n.sequence, epoch = epoch + 1, owner = NULL, owned_till = '-infinity'
    FROM unnest($13::integer[], $14::bigint[]) AS n (partition, sequence)
    WHERE p.partition = n.partition
    RETURNING p.partition
)
SELECT pg_notify($15, partition::text) FROM head;

-- name: insert_tracking
INSERT INTO tracking (application_name, notification_id) VALUES ($1, $2)
ON CONFLICT (application_name) DO UPDATE SET notification_id = excluded.notification_id
WHERE tracking.notification_id < excluded.notification_id
RETURNING notification_id;

-- name: max_tracking_id
SELECT notification_id FROM tracking WHERE application_name = $1;
