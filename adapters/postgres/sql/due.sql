-- name: tickets
SELECT ticket, deadline FROM tickets
WHERE state IN ('queued', 'running') AND deadline <= now() AND problem IS NULL
AND (deadline, ticket) > ($1, $2)
ORDER BY deadline, ticket LIMIT $3;

-- name: tasks
SELECT ticket, task, state, token, due FROM tasks
WHERE due IS NOT NULL AND due <= now() AND (due, ticket, task) > ($1, $2, $3)
AND NOT EXISTS (SELECT FROM tickets AS t WHERE t.ticket = tasks.ticket AND t.problem IS NOT NULL)
ORDER BY due, ticket, task LIMIT $4;
