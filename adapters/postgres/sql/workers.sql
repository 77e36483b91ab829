-- name: known
SELECT * FROM workers WHERE worker = ANY ($1::text[]);

-- name: write
INSERT INTO workers (worker, partition, state, session, home, capabilities, slots, registered_at,
                     since, reason, version, sequence, problem)
SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::json[],
                     $7::integer[], $8::timestamptz[], $9::timestamptz[], $10::text[],
                     $11::integer[], $12::bigint[], $13::text[])
ON CONFLICT (worker) DO UPDATE
SET state = excluded.state, session = excluded.session, home = excluded.home,
    capabilities = excluded.capabilities, slots = excluded.slots,
    registered_at = excluded.registered_at, since = excluded.since, reason = excluded.reason,
    version = excluded.version, sequence = excluded.sequence, problem = excluded.problem;

-- name: online
SELECT * FROM workers WHERE state = 'available' AND problem IS NULL ORDER BY worker;

-- name: page
SELECT * FROM workers WHERE worker > $1 AND ($2::text[] = '{}' OR state = ANY ($2))
ORDER BY worker LIMIT $3;

-- name: at_work
-- In the views of tickets: the attempts of a worker that are under way.
SELECT a.* FROM tasks AS t JOIN attempts AS a USING (ticket, token)
WHERE t.worker = $1 AND t.state IN ('claimed', 'running')
ORDER BY a.claimed_at, a.ticket, a.token LIMIT $2;
