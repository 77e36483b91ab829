-- name: tickets
SELECT ticket, deadline FROM tickets
WHERE state IN ('queued', 'running') AND deadline <= now() AND problem IS NULL
AND (deadline, ticket) > ($1, $2)
ORDER BY deadline, ticket LIMIT $3;

-- name: tasks
-- An attempt is not too long under way before its worker could say for the length of its lease how
-- it goes: see leases_tables.sql.
SELECT ticket, task, state, token, due FROM tasks
WHERE due IS NOT NULL AND due <= now() AND (due, ticket, task) > ($1, $2, $3)
AND NOT EXISTS (SELECT FROM tickets AS t WHERE t.ticket = tasks.ticket AND t.problem IS NOT NULL)
AND NOT EXISTS (
    SELECT FROM attempts AS a
    WHERE a.ticket = tasks.ticket AND a.token = tasks.token AND a.ended IS NULL
    AND (SELECT till FROM quiet) + a.lease * interval '1 second' >= now())
ORDER BY due, ticket, task LIMIT $4;
