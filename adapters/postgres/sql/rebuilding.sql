-- name: positions
SELECT sequence FROM partitions ORDER BY partition;

-- name: is_there
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1);
