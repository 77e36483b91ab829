-- name: tickets
SELECT * FROM tickets WHERE /* conditions */ ORDER BY opened_at DESC, ticket DESC

-- name: tasks
SELECT * FROM tasks WHERE /* conditions */ ORDER BY n

-- name: queue
SELECT * FROM tasks WHERE /* conditions */ ORDER BY rank, ticket, task

-- name: attempts
SELECT * FROM attempts WHERE /* conditions */ ORDER BY token

-- name: attempts_told
SELECT * FROM attempts WHERE ticket = $1 AND token = ANY ($2)

-- name: attempts_cancelled
SELECT * FROM attempts WHERE ticket = $1 AND ended = 'tasks_cancelled' AND ended_at = ANY ($2)

-- name: results
SELECT * FROM results WHERE /* conditions */ ORDER BY at DESC, ticket DESC, token DESC, n DESC

-- name: positions
SELECT sequence FROM partitions ORDER BY partition

-- name: projects
SELECT ticket, project FROM tickets WHERE ticket = ANY ($1::text[])

-- name: attempted
SELECT ticket, token, task, number, worker, created
FROM attempts JOIN unnest($1::text[], $2::integer[]) AS shown (ticket, token) USING (ticket, token)
