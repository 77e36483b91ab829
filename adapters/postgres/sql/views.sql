-- name: are_there
SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'partitions');

-- name: create_partitions
INSERT INTO partitions (partition, format, log)
SELECT n - 1, $2, log FROM unnest($1::uuid[]) WITH ORDINALITY AS p (log, n);

-- name: partitions
SELECT partition, format, log, sequence, event FROM partitions ORDER BY partition;

-- name: standings
SELECT partition, sequence,
       CASE WHEN owned_till > clock_timestamp() THEN owner END AS owner,
       CASE WHEN owned_till > clock_timestamp()
           THEN extract(epoch FROM owned_till - clock_timestamp())::float8 END AS lease,
       CASE WHEN owned_till <= clock_timestamp() AND owned_till > '-infinity'
           THEN extract(epoch FROM clock_timestamp() - owned_till)::float8 END AS vacant
FROM partitions ORDER BY partition;

-- name: event
SELECT event FROM partitions WHERE partition = $1;

-- name: hurry
SET synchronous_commit = off;

-- name: advance
-- Compare-and-set; who waits for the rows is told of them with the commit. Whoever folds is
-- alive: a renewal apart would wait for this transaction, and other partitions' for the renewal.
WITH moved AS (
    UPDATE partitions
    SET sequence = $4, event = $5, owned_till = clock_timestamp() + $7::interval
    WHERE partition = $1 AND epoch = $2 AND sequence = $3
    RETURNING partition, sequence
)
SELECT pg_notify($6, partition || ':' || sequence) FROM moved;

-- name: pass_over
-- As `advance`, where there is no row of which anybody need be told.
UPDATE partitions
SET sequence = $4, event = $5, owned_till = clock_timestamp() + $6::interval
WHERE partition = $1 AND epoch = $2 AND sequence = $3
RETURNING partition;

-- name: epoch
SELECT epoch FROM partitions WHERE partition = $1;

-- name: tickets
SELECT * FROM tickets WHERE ticket = ANY ($1);

-- name: tasks
SELECT t.* FROM tasks AS t
JOIN unnest($1::text[], $2::text[]) AS wanted (ticket, task) USING (ticket, task);

-- name: tasks_in_queue
SELECT * FROM tasks WHERE ticket = ANY ($1) AND rank IS NOT NULL;

-- name: attempts
SELECT a.* FROM attempts AS a
JOIN unnest($1::text[], $2::integer[]) AS wanted (ticket, token) USING (ticket, token);

-- name: add_classes
INSERT INTO classes (class, requires)
SELECT * FROM unnest($1::text[], $2::json[]) AS c (class, requires) ORDER BY class
ON CONFLICT DO NOTHING;

-- name: update_tickets
UPDATE tickets AS t
SET state = c.state, priority = c.priority, sealed = c.sealed, deadline = c.deadline,
    started_at = c.started_at, ended_at = c.ended_at, reason = c.reason,
    superseded_by = c.superseded_by, tasks = c.tasks, waiting = c.waiting, working = c.working,
    passed = c.passed, failed = c.failed, errored = c.errored, dropped = c.dropped,
    version = c.version, sequence = c.sequence, changed_at = c.changed_at,
    waits_for = c.waits_for
FROM unnest($1::text[], $2::text[], $3::integer[], $4::boolean[], $5::timestamptz[],
            $6::timestamptz[], $7::timestamptz[], $8::text[], $9::text[], $10::integer[],
            $11::integer[], $12::integer[], $13::integer[], $14::integer[], $15::integer[],
            $16::integer[], $17::integer[], $18::bigint[], $19::timestamptz[], $20::json[])
    AS c (ticket, state, priority, sealed, deadline, started_at, ended_at, reason, superseded_by,
          tasks, waiting, working, passed, failed, errored, dropped, version, sequence, changed_at,
          waits_for)
WHERE t.ticket = c.ticket;

-- name: update_tasks
UPDATE tasks AS t
SET state = c.state, since = c.since, created = c.created, ready_at = c.ready_at, rank = c.rank,
    attempts = c.attempts, token = c.token, worker = c.worker, execution = c.execution,
    outcome = c.outcome, reason = c.reason, because = c.because, due = c.due
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::timestamptz[],
            $7::double precision[], $8::integer[], $9::integer[], $10::text[], $11::text[],
            $12::text[], $13::text[], $14::text[], $15::timestamptz[])
    AS c (ticket, task, state, since, created, ready_at, rank, attempts, token, worker, execution,
          outcome, reason, because, due)
WHERE t.ticket = c.ticket AND t.task = c.task;

-- name: update_attempts
UPDATE attempts AS a
SET started_at = c.started_at, ended_at = c.ended_at, ended = c.ended, execution = c.execution,
    outcome = c.outcome, reason = c.reason, log = c.log, artifacts = c.artifacts
FROM unnest($1::text[], $2::integer[], $3::timestamptz[], $4::timestamptz[], $5::text[],
            $6::text[], $7::text[], $8::text[], $9::text[], $10::json[])
    AS c (ticket, token, started_at, ended_at, ended, execution, outcome, reason, log, artifacts)
WHERE a.ticket = c.ticket AND a.token = c.token;

-- name: refuse
UPDATE attempts AS a SET refused = true
FROM unnest($1::text[], $2::integer[]) AS c (ticket, token)
WHERE a.ticket = c.ticket AND a.token = c.token;

-- name: quarantine
UPDATE tickets AS t SET problem = c.problem
FROM unnest($1::text[], $2::text[]) AS c (ticket, problem)
WHERE t.ticket = c.ticket;
