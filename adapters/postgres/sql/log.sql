-- name: create_partitions
WITH made AS (
    INSERT INTO partitions (partition, format, of, id)
    SELECT n, $2, $1, gen_random_uuid() FROM generate_series(0, $1 - 1) AS n
    WHERE NOT EXISTS (SELECT FROM partitions)
    RETURNING partition
)
INSERT INTO inboxes (partition) SELECT partition FROM made;

-- name: partitions
SELECT partition, format, of, id FROM partitions ORDER BY partition;

-- name: send
WITH head AS (
    UPDATE inboxes SET position = position + $2 WHERE partition = $1
    RETURNING position - $2 AS before
), sent AS (
    INSERT INTO commands (partition, position, at, id, stream, topic, schema, actor, patience,
                          reply_to, traceparent, data)
    SELECT $1, before + n, clock_timestamp(), c.id, c.stream, c.topic, c.schema, c.actor,
           c.patience, c.reply_to, c.traceparent, c.data
    FROM head, unnest($3::uuid[], $4::text[], $5::text[], $6::smallint[], $7::text[],
                      $8::double precision[], $9::text[], $10::text[], $11::bytea[])
        WITH ORDINALITY AS c (id, stream, topic, schema, actor, patience, reply_to, traceparent,
                              data, n)
)
SELECT pg_notify($12, $1::text);

-- name: receive
-- At most so many, and no more when they are $4 bytes.
SELECT position, at, id, stream, topic, schema, actor, patience, reply_to, traceparent, data
FROM (
    SELECT *, sum(octet_length(data)) OVER (ORDER BY position) - octet_length(data) AS before
    FROM (
        SELECT * FROM commands WHERE partition = $1 AND position > $2 ORDER BY position LIMIT $3
    ) AS waiting
) AS counted
WHERE before < $4 ORDER BY position;

-- name: forget
-- The oldest commands that were decided long ago; `at` rises with the position.
WITH oldest AS (
    SELECT position, at FROM commands WHERE partition = $1 AND position <= $2
    ORDER BY position LIMIT 10000
)
DELETE FROM commands AS c USING oldest AS o
WHERE c.partition = $1 AND c.position = o.position AND o.at < clock_timestamp() - $3::interval;

-- name: inbox_end
SELECT position FROM inboxes WHERE partition = $1;

-- name: end
SELECT sequence FROM partitions WHERE partition = $1;

-- name: standings
SELECT p.partition, i.position AS inbox, p.position AS decided, p.sequence AS events,
       CASE WHEN p.owned_till > clock_timestamp() THEN p.owner END AS owner,
       CASE WHEN p.owned_till > clock_timestamp()
           THEN extract(epoch FROM p.owned_till - clock_timestamp())::float8 END AS lease,
       CASE WHEN p.owned_till <= clock_timestamp() AND p.owned_till > '-infinity'
           THEN extract(epoch FROM clock_timestamp() - p.owned_till)::float8 END AS vacant
FROM partitions AS p JOIN inboxes AS i USING (partition) ORDER BY partition;

-- name: read
-- At most so many, and no more when they are $4 bytes.
SELECT sequence, originator_id, originator_version, topic, schemaversion, id, causationid, time,
       actor, upto, traceparent, state
FROM (
    SELECT *, sum(octet_length(state)) OVER (ORDER BY sequence) - octet_length(state) AS before
    FROM (
        SELECT * FROM events WHERE partition = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
    ) AS next
) AS counted
WHERE before < $4 ORDER BY sequence;

-- name: position
SELECT position FROM partitions WHERE partition = $1 AND epoch = $2;

-- name: commit
WITH head AS (
    UPDATE partitions SET position = $3, sequence = sequence + $5
    WHERE partition = $1 AND epoch = $2 AND sequence = $4
    RETURNING partition
), recorded AS (
    INSERT INTO events (partition, sequence, originator_id, originator_version, topic,
                        schemaversion, id, causationid, time, actor, traceparent, state, upto)
    SELECT $1, e.*, $3
    FROM head, unnest($6::bigint[], $7::text[], $8::integer[], $9::text[], $10::smallint[],
                      $11::uuid[], $12::uuid[], $13::timestamptz[], $14::text[], $15::text[],
                      $16::bytea[]) AS e
), dead AS (
    INSERT INTO dead_letters
    SELECT c.*, d.reason
    FROM head, unnest($17::bigint[], $18::text[]) AS d (position, reason)
    JOIN commands AS c ON c.partition = $1 AND c.position = d.position
)
SELECT pg_notify(n.channel, n.payload)
FROM head, unnest($19::text[], $20::text[]) AS n (channel, payload);
