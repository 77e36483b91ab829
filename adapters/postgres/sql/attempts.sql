-- name: attempt
SELECT * FROM attempts WHERE ticket = $1 AND token = $2

-- name: newest
SELECT * FROM attempts WHERE ticket = $1 AND task = $2 ORDER BY token DESC LIMIT 1

-- name: over
SELECT ticket, token
FROM attempts JOIN unnest($1::text[], $2::integer[]) AS asked (ticket, token) USING (ticket, token)
WHERE ended_at IS NOT NULL

-- name: parameters
SELECT spec -> 'run' -> 'parameters' FROM tasks WHERE ticket = $1 AND task = $2
