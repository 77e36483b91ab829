-- name: classes
-- All of them, unless there are as many as are known: they are never removed.
SELECT class, requires FROM classes WHERE (SELECT count(*) FROM classes) <> $1;

-- name: candidates
-- The heads of the queues of these classes: the projects of each are found by leaps through the
-- index of the queue, and at most $2 rows are taken of each.
WITH RECURSIVE queues (class, project) AS (
    SELECT asked.class, first.project
    FROM unnest($1::text[]) AS asked (class)
    CROSS JOIN LATERAL (
        SELECT project FROM tasks
        WHERE class = asked.class AND rank IS NOT NULL
        ORDER BY project LIMIT 1
    ) AS first
    UNION ALL
    SELECT queues.class, next.project
    FROM queues
    CROSS JOIN LATERAL (
        SELECT project FROM tasks
        WHERE class = queues.class AND project > queues.project AND rank IS NOT NULL
        ORDER BY project LIMIT 1
    ) AS next
)
SELECT head.ticket, head.task, head.project, head.class, head.rank, head.worker, head.created,
       head.since, extract(epoch FROM now() - head.since)::float8 AS waited
FROM queues
CROSS JOIN LATERAL (
    SELECT t.* FROM tasks AS t JOIN tickets AS k ON k.ticket = t.ticket
    WHERE t.class = queues.class AND t.project = queues.project AND t.rank IS NOT NULL
    AND k.problem IS NULL AND (k.not_before IS NULL OR k.not_before <= now())
    AND NOT EXISTS (
        SELECT FROM reservations AS r
        WHERE r.ticket = t.ticket AND r.task = t.task AND r.since = t.since AND r.until > now())
    ORDER BY t.rank, t.ticket, t.task LIMIT $2
) AS head;

-- name: reserve
-- Whoever comes second gets nothing, and whoever is no worker that may claim. In one order, so that
-- nobody waits in a circle.
INSERT INTO reservations AS r (ticket, task, since, worker, request, until)
SELECT c.ticket, c.task, c.since, c.worker, c.request, now() + $7::interval
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[])
    AS c (ticket, task, since, worker, request, session)
WHERE EXISTS (
    SELECT FROM workers AS w
    WHERE w.worker = c.worker AND w.session = c.session AND w.state = 'available')
ORDER BY c.ticket, c.task
ON CONFLICT (ticket, task) DO UPDATE
SET since = excluded.since, worker = excluded.worker, request = excluded.request,
    until = excluded.until
WHERE r.until <= now() OR r.since <> excluded.since
RETURNING ticket, task, since, worker, request;

-- name: reserved
-- What is reserved for a request that is made again stays so for as long as at first.
UPDATE reservations SET until = now() + $3::interval
WHERE request = $2 AND worker = $1 AND until > now()
RETURNING ticket, task, since, worker, request;

-- name: release
-- Who asked has gone before it could be told.
DELETE FROM reservations AS r
USING unnest($1::text[], $2::text[], $3::text[]) AS c (ticket, task, request)
WHERE r.ticket = c.ticket AND r.task = c.task AND r.request = c.request;

-- name: sweep
DELETE FROM reservations WHERE until < now() - interval '1 second';

-- name: details
SELECT t.ticket, t.task, t.spec, t.attempts, t.token,
       k.kind, k.project, k.name, k.revision, k.url
FROM unnest($1::text[], $2::text[]) AS c (ticket, task)
JOIN tasks AS t ON t.ticket = c.ticket AND t.task = c.task
JOIN tickets AS k ON k.ticket = c.ticket;

-- name: left
-- What tasks have left that passed.
SELECT t.ticket, t.task, a.artifacts
FROM unnest($1::text[], $2::text[]) AS c (ticket, task)
JOIN tasks AS t ON t.ticket = c.ticket AND t.task = c.task
JOIN attempts AS a ON a.ticket = t.ticket AND a.token = t.token
WHERE a.ended = 'task_passed';

-- name: attempt
SELECT task, number FROM attempts WHERE ticket = $1 AND token = $2;
