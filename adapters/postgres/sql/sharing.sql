-- name: join
INSERT INTO members (member, till) VALUES ($1, clock_timestamp() + $2::interval)
ON CONFLICT (member) DO UPDATE SET till = excluded.till;

-- name: renew
UPDATE partitions SET owned_till = clock_timestamp() + $2::interval
WHERE owner = $1 AND partition = ANY ($3::integer[]);

-- name: renew_idle
-- Waits for nobody: what is locked is inside a transaction of its owner, which renews it itself.
UPDATE partitions SET owned_till = clock_timestamp() + $2::interval
WHERE partition IN (
    SELECT partition FROM partitions WHERE owner = $1 AND partition = ANY ($3::integer[])
    FOR NO KEY UPDATE SKIP LOCKED
);

-- name: leave
DELETE FROM members WHERE member = $1 OR till < clock_timestamp() - interval '1 hour';

-- name: members
SELECT member FROM members WHERE till > clock_timestamp() ORDER BY member;

-- name: owners
-- Who has which; what is ours stays so as long as nobody has taken it.
SELECT partition,
       CASE WHEN owned_till > clock_timestamp() OR owner = $1 THEN owner END AS owner
FROM partitions ORDER BY partition;

-- name: take
UPDATE partitions
SET owner = $2, epoch = epoch + 1, owned_till = clock_timestamp() + $3::interval
WHERE partition = $1 AND (owner IS NULL OR owner = $2 OR owned_till < clock_timestamp())
RETURNING epoch, sequence, clock_timestamp() AS now;

-- name: release
UPDATE partitions SET owner = NULL, owned_till = '-infinity' WHERE partition = $1 AND epoch = $2;

-- name: blockers
SELECT pg_terminate_backend(blocker)
FROM pg_stat_activity, unnest(pg_blocking_pids(pid)) AS blocker
WHERE pid = $1;
