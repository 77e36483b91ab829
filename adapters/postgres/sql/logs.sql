-- name: append
-- Nothing comes back where the log is not at this start, has ended, or would be too long. What is
-- proposed for a log that is there already must fit the table's conditions, and is not used.
WITH given (ticket, token, task, start, size, data, is_last, most) AS (
    VALUES ($1::text, $2::integer, $3::text, $4::bigint, $5::integer, $6::bytea, $7::boolean,
            $8::bigint)
), moved AS (
    INSERT INTO logs AS log (ticket, token, task, size, most, ended_at)
    SELECT ticket, token, task, size, greatest(most, size), CASE WHEN is_last THEN now() END
    FROM given
    WHERE (start = 0 AND size <= most)
       OR EXISTS (SELECT FROM logs WHERE ticket = $1 AND token = $2)
    ON CONFLICT (ticket, token) DO UPDATE
    SET size = log.size + $5, changed_at = now(), ended_at = CASE WHEN $7 THEN now() END
    WHERE log.size = $4 AND log.ended_at IS NULL AND log.size + $5 <= log.most
    RETURNING size, most, sealed, ended_at IS NOT NULL AS ended
), kept AS (
    INSERT INTO chunks (ticket, token, start, size, data)
    SELECT given.ticket, given.token, given.start, given.size, given.data FROM given, moved
    WHERE given.size > 0
)
SELECT size, most, sealed, ended, pg_notify($9::text, $1 || '/' || $2::text) FROM moved

-- name: state
SELECT size, most, sealed, ended_at IS NOT NULL AS ended FROM logs WHERE ticket = $1 AND token = $2

-- name: pieces
-- The segment in which a place may be, and the chunks from there: of one moment, as what is in
-- chunks now is in a segment then.
(SELECT start, size, object, NULL::bytea AS data FROM segments
 WHERE ticket = $1 AND token = $2 AND start <= $3 ORDER BY start DESC LIMIT 1)
UNION ALL
(SELECT start, size, NULL, data FROM chunks
 WHERE ticket = $1 AND token = $2 AND start > $3 - $5::integer AND start < $4 ORDER BY start)

-- name: sealing
SELECT id, size, sealed, segments, ended_at IS NOT NULL AS ended, settled
FROM logs WHERE ticket = $1 AND token = $2

-- name: chunks
SELECT start, size, data FROM chunks
WHERE ticket = $1 AND token = $2 AND start >= $3 AND start < $4 ORDER BY start

-- name: seal
-- Who comes second changes nothing.
WITH moved AS (
    UPDATE logs SET sealed = $3::bigint + $4::integer, segments = segments + 1
    WHERE ticket = $1 AND token = $2 AND sealed = $3 RETURNING segments - 1 AS n
), gone AS (
    DELETE FROM chunks
    WHERE ticket = $1 AND token = $2 AND start >= $3 AND start < $3 + $4
      AND EXISTS (SELECT FROM moved)
)
INSERT INTO segments (ticket, token, n, start, size, object)
SELECT $1, $2, n, $3, $4, $5 FROM moved

-- name: settle
UPDATE logs SET settled = true
WHERE ticket = $1 AND token = $2 AND ended_at IS NOT NULL AND sealed = size AND NOT settled

-- name: end
WITH ended AS (
    UPDATE logs SET ended_at = now()
    WHERE ticket = $1 AND token = $2 AND ended_at IS NULL RETURNING ticket, token
)
SELECT pg_notify($3, ticket || '/' || token) FROM ended

-- name: unsettled
SELECT ticket, token, ended_at IS NOT NULL AS ended FROM logs
WHERE NOT settled AND changed_at < now() - $1::interval AND (ticket, token) > ($2, $3)
ORDER BY ticket, token LIMIT $4
