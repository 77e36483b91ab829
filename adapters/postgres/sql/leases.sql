-- name: fold_ended
-- In one order, as every statement here that takes several rows: so nobody waits in a circle.
DELETE FROM leases AS l
USING (
    SELECT ticket, token FROM leases
    JOIN unnest($1::text[], $2::bigint[]) AS e (ticket, token) USING (ticket, token)
    ORDER BY ticket, token FOR UPDATE OF leases
) AS gone
WHERE l.ticket = gone.ticket AND l.token = gone.token;

-- name: fold_cancelled
-- An event names the tasks: what was claimed later is another attempt.
DELETE FROM leases AS l
USING (
    SELECT l.ticket, l.token FROM leases AS l
    JOIN unnest($1::text[], $2::text[], $3::bigint[]) AS c (ticket, task, version)
    ON l.ticket = c.ticket AND l.task = c.task AND l.token < c.version
    ORDER BY l.ticket, l.token FOR UPDATE OF l
) AS gone
WHERE l.ticket = gone.ticket AND l.token = gone.token;

-- name: fold_claimed
INSERT INTO leases (ticket, token, task, worker, session, request, length, deadline)
SELECT ticket, token, task, worker, '', request, length, now() + length * interval '1 second'
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::double precision[])
    AS c (ticket, token, task, worker, request, length)
ON CONFLICT DO NOTHING;

-- name: fold_gone
DELETE FROM heard AS h USING unnest($1::text[], $2::text[]) AS g (worker, session)
WHERE h.worker = g.worker AND h.session = g.session;

-- name: fold_registered
INSERT INTO heard AS h (worker, session, at)
SELECT worker, session, now() FROM unnest($1::text[], $2::text[]) AS r (worker, session)
ON CONFLICT (worker) DO UPDATE SET session = excluded.session, at = now()
WHERE h.session <> excluded.session;

-- name: grant
-- Not where the attempt is known to be over: who claimed was told so late.
INSERT INTO leases AS l (ticket, token, task, worker, session, request, length, deadline)
SELECT ticket, token, task, worker, session, request, length,
       now() + length * interval '1 second'
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
            $7::double precision[])
    AS g (ticket, token, task, worker, session, request, length)
WHERE NOT EXISTS (
    SELECT FROM attempts AS a
    WHERE a.ticket = g.ticket AND a.token = g.token AND a.ended IS NOT NULL)
ORDER BY ticket COLLATE "C", token
ON CONFLICT (ticket, token) DO UPDATE
SET session = excluded.session, deadline = greatest(l.deadline, excluded.deadline);

-- name: beat
-- What is seen here is from before the change: of a row that is being marked the next one is told.
-- Each step is a look into an index for each that was named: whoever beats does not read what
-- others have.
WITH asked AS MATERIALIZED (
    SELECT DISTINCT ticket, token FROM unnest($3::text[], $4::bigint[]) AS a (ticket, token)
), found AS MATERIALIZED (
    SELECT asked.ticket, asked.token, l.worker, l.marked, l.reason
    FROM asked LEFT JOIN leases AS l ON l.ticket = asked.ticket AND l.token = asked.token
), kept AS MATERIALIZED (
    SELECT l.ticket, l.token FROM found JOIN leases AS l USING (ticket, token)
    WHERE found.worker = $1 AND l.worker = $1 AND l.marked IS NULL
    ORDER BY l.ticket, l.token FOR UPDATE OF l
), extended AS (
    UPDATE leases AS l
    SET deadline = greatest(l.deadline, now() + l.length * interval '1 second'),
        session = CASE l.session WHEN '' THEN $2 ELSE l.session END
    FROM kept WHERE l.ticket = kept.ticket AND l.token = kept.token
), noted AS (
    UPDATE heard SET session = $2, at = now() WHERE worker = $1
)
SELECT false AS held, ticket, token,
       CASE WHEN worker = $1 THEN reason ELSE 'it is the attempt of ' || worker END AS word
FROM found WHERE worker <> $1 OR marked IS NOT NULL
UNION ALL
SELECT false, a.ticket, a.token, concat_ws(': ', a.ended, nullif(a.reason, ''))
FROM found JOIN attempts AS a ON a.ticket = found.ticket AND a.token = found.token
WHERE found.worker IS NULL AND a.ended IS NOT NULL
UNION ALL
SELECT true, ticket, token, task FROM leases WHERE worker = $1 AND marked IS NULL;

-- name: present
-- Where there is no row, it may not be there yet, or again.
SELECT coalesce(
    (SELECT marked IS NULL FROM leases WHERE ticket = $1 AND token = $2),
    NOT EXISTS (SELECT FROM attempts WHERE ticket = $1 AND token = $2 AND ended IS NOT NULL)
);

-- name: of_request
SELECT ticket, token, task, worker, session, request, length FROM leases
WHERE request = $2 AND worker = $1 AND marked IS NULL
ORDER BY ticket, token;

-- name: heard
INSERT INTO heard AS h (worker, session, at) VALUES ($1, $2, now())
ON CONFLICT (worker) DO UPDATE SET session = excluded.session, at = excluded.at;

-- name: heard_of
WITH there AS (
    SELECT h.worker FROM heard AS h
    JOIN unnest($1::text[], $2::text[]) AS t (worker, session) USING (worker, session)
    ORDER BY h.worker FOR UPDATE OF h
)
UPDATE heard AS h SET at = now() FROM there WHERE h.worker = there.worker;

-- name: release_others
WITH others AS (
    SELECT ticket, token FROM leases
    WHERE worker = $1 AND session NOT IN ('', $2) AND marked IS NULL
    ORDER BY ticket, token FOR UPDATE
)
UPDATE leases AS l SET marked = now(), reason = $3
FROM others AS o WHERE l.ticket = o.ticket AND l.token = o.token
RETURNING l.ticket, l.task, l.token;

-- name: hearing
-- Several that find the same gap note it each: what counts is the last end.
WITH gap AS (
    INSERT INTO gaps (ended, began, found)
    SELECT now(), at, 'hearing' FROM hearing WHERE till < now()
)
UPDATE hearing SET at = now(), till = now() + $1::interval;

-- name: round
WITH gap AS (
    INSERT INTO gaps (ended, began, found)
    SELECT now(), at, 'rounds' FROM rounds WHERE till < now()
), forgotten AS (
    DELETE FROM gaps AS g WHERE ended < now() - $2::interval
    AND EXISTS (SELECT FROM gaps AS l WHERE l.found = g.found AND l.ended > g.ended)
)
UPDATE rounds SET at = now(), till = now() + $1::interval;

-- name: mark
-- A row that is being extended is locked, and so not due. Leases fall silent one after another, as
-- heartbeats come in: those count for the breaker that lack a third of their length at most. Which
-- were silent when it tripped last have had their full time since, and do not count again.
WITH due AS MATERIALIZED (
    SELECT ticket, token FROM leases
    WHERE marked IS NULL AND deadline < now()
    AND coalesce((SELECT till FROM quiet) + length * interval '1 second' < now(), true)
    FOR UPDATE SKIP LOCKED
), last AS MATERIALIZED (
    SELECT (SELECT till FROM quiet) AS quiet,
           (SELECT max(ended) FROM gaps WHERE found = 'breaker') AS trip
), counted AS MATERIALIZED (
    SELECT count(*) AS open,
           count(*) FILTER (
               WHERE greatest(deadline, last.quiet + length * interval '1 second')
                     < now() + length / 3 * interval '1 second'
               AND coalesce(deadline >= last.trip + length / 3 * interval '1 second', true)
           ) AS silent
    FROM leases, last
    WHERE marked IS NULL AND EXISTS (SELECT FROM due)
), tripped AS (
    INSERT INTO gaps (ended, began, found, silent, open)
    SELECT now(), now(), 'breaker', silent, open FROM counted
    WHERE silent > $1 AND 3 * silent > open
    RETURNING silent, open
), marked AS (
    UPDATE leases AS l SET marked = now(), reason = $2
    FROM due
    WHERE l.ticket = due.ticket AND l.token = due.token AND NOT EXISTS (SELECT FROM tripped)
    RETURNING 1
)
SELECT (SELECT count(*) FROM marked) AS marked, (SELECT silent FROM tripped) AS silent,
       (SELECT open FROM tripped) AS open;

-- name: forget
-- Rows whose attempts are over, and that no event will remove: somebody was told of a claim late.
DELETE FROM leases AS l USING attempts AS a
WHERE l.marked IS NOT NULL AND a.ticket = l.ticket AND a.token = l.token AND a.ended IS NOT NULL;

-- name: marked
SELECT ticket, task, token, reason FROM leases WHERE marked IS NOT NULL
ORDER BY marked, ticket, token;

-- name: silent
-- Workers of whom nobody heard, though somebody could have.
SELECT worker, session, at FROM heard
WHERE at < now() - $1::interval
AND coalesce((SELECT till FROM quiet) < now() - $1::interval, true)
ORDER BY at, worker;

-- name: look
-- For a doctor; in seconds. `late` is how long ago the first of them should have been marked.
SELECT (SELECT count(*) FROM leases WHERE marked IS NULL) AS open,
       (SELECT extract(epoch FROM min(deadline) - now())::float8 FROM leases
        WHERE marked IS NULL) AS first,
       (SELECT extract(epoch FROM now() - min(greatest(
                   deadline, (SELECT till FROM quiet) + length * interval '1 second')))::float8
        FROM leases WHERE marked IS NULL) AS late,
       (SELECT count(*) FROM leases WHERE marked IS NOT NULL) AS marked,
       (SELECT extract(epoch FROM now() - min(marked))::float8 FROM leases) AS marked_for,
       (SELECT extract(epoch FROM now() - at)::float8 FROM hearing WHERE till < now()) AS deaf,
       (SELECT extract(epoch FROM now() - at)::float8 FROM rounds WHERE till < now()) AS unwatched;

-- name: gaps
SELECT found, began, ended, silent, open FROM gaps WHERE ended > now() - $1::interval
ORDER BY ended DESC LIMIT $2;
