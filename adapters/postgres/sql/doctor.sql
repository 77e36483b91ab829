-- name: machine
-- The clock, in seconds since 1970, and how much room the database takes.
SELECT extract(epoch FROM clock_timestamp())::double precision AS now,
       pg_database_size(current_database()) AS size;

-- name: tickets
-- What should have been told to end, longer ago than a reaper takes; what could not be folded.
SELECT (SELECT count(*) FROM tickets
        WHERE state IN ('queued', 'running') AND deadline < now() - interval '60 seconds'
          AND problem IS NULL) AS overdue,
       (SELECT count(*) FROM (SELECT FROM tickets WHERE problem IS NOT NULL LIMIT 1000) AS q)
           AS quarantined,
       (SELECT min(ready_at) FROM tasks WHERE rank IS NOT NULL) AS waits_since;

-- name: waiting
-- What has waited for so long that somebody should have taken it, by what a worker must have.
SELECT c.requires, count(*) AS tasks
FROM tasks AS t JOIN tickets AS k USING (ticket) JOIN classes AS c USING (class)
WHERE t.rank IS NOT NULL AND k.problem IS NULL
  AND greatest(t.since, k.not_before) < now() - $1::interval
GROUP BY c.class ORDER BY tasks DESC, c.class;
