-- name: open_keyed
INSERT INTO keyed (ticket, key, place, cause)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::uuid[])
ON CONFLICT (ticket) DO NOTHING;

-- name: move_keyed
-- Those that have ended have no cause any more, those that run again have another.
UPDATE keyed AS k SET cause = c.cause
FROM unnest($1::text[], $2::uuid[]) AS c (ticket, cause)
WHERE k.ticket = c.ticket;

-- name: lock_newest
-- In the order of the keys as they are given, so that no two reactors wait for one another. Whoever
-- has a row sees every ticket of its key that came before, wherever it lives.
INSERT INTO newest AS n (key, name, place, ticket)
SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::text[])
ON CONFLICT (key) DO UPDATE
SET (place, ticket) = (
    SELECT place, ticket
    FROM (VALUES (n.place, n.ticket), (excluded.place, excluded.ticket)) AS v (place, ticket)
    ORDER BY place DESC, ticket DESC LIMIT 1
);

-- name: older
SELECT n.ticket AS newest, k.ticket, k.cause
FROM newest AS n JOIN keyed AS k USING (key)
WHERE n.key = ANY ($1) AND k.cause IS NOT NULL AND (k.place, k.ticket) < (n.place, n.ticket)
ORDER BY k.place, k.ticket;

-- name: await
INSERT INTO awaiting (waiter, awaited) SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT DO NOTHING;

-- name: await_no_more
DELETE FROM awaiting AS a USING unnest($1::text[], $2::text[]) AS c (waiter, awaited)
WHERE a.waiter = c.waiter AND a.awaited = c.awaited;

-- name: awaited_by
SELECT waiter, awaited FROM awaiting WHERE waiter = ANY ($1) ORDER BY waiter, awaited;

-- name: lock_ends
-- In the order of the tickets as they are given; only where $3 says so is the state a new one.
INSERT INTO ends AS e (ticket, state)
SELECT ticket, state FROM unnest($1::text[], $2::text[]) AS c (ticket, state)
ON CONFLICT (ticket) DO UPDATE
SET state = CASE WHEN e.ticket = ANY ($3::text[]) THEN excluded.state ELSE e.state END
RETURNING ticket, state;

-- name: waiters
-- Of tickets that have ended; a waiter that has ended itself hears of it when it is run again.
SELECT a.awaited, a.waiter FROM awaiting AS a
WHERE a.awaited = ANY ($1)
AND NOT EXISTS (SELECT FROM ends AS e WHERE e.ticket = a.waiter AND e.state IS NOT NULL)
ORDER BY a.awaited, a.waiter;

-- name: write_down
INSERT INTO outbox (partition, id, stream, actor, topic, schema, data)
SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::smallint[],
                         $7::bytea[])
ON CONFLICT DO NOTHING;

-- name: outbox
SELECT id, stream, actor, topic, schema, data FROM outbox WHERE partition = $1 ORDER BY n;

-- name: sent
DELETE FROM outbox WHERE partition = $1 AND id = ANY ($2);
