-- name: make
INSERT INTO tokens (id, name, digest, scopes, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, now() + $6::interval)
ON CONFLICT (digest) DO NOTHING
RETURNING id, name, scopes, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at;

-- name: make_first
-- Only where nobody has one that is good.
INSERT INTO tokens (id, name, digest, scopes, created_by)
SELECT $1, $2, $3, $4, $2
WHERE NOT EXISTS (
    SELECT FROM tokens
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AND 'admin' = ANY (scopes)
)
ON CONFLICT (digest) DO NOTHING
RETURNING id;

-- name: known
-- When it was used is noted once a minute.
WITH used AS (
    UPDATE tokens SET last_used_at = now()
    WHERE digest = $1 AND revoked_at IS NULL AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
)
SELECT name, scopes FROM tokens
WHERE digest = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: page
SELECT id, name, scopes, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at
FROM tokens
WHERE ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
ORDER BY created_at DESC, id DESC LIMIT $1;

-- name: revoke
-- The same again changes nothing.
UPDATE tokens SET revoked_at = coalesce(revoked_at, now()), revoked_by = coalesce(revoked_by, $2)
WHERE id = $1
RETURNING id, name, scopes, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at;

-- name: key
-- Whoever is first makes it.
WITH made AS (
    INSERT INTO keys (name, key) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING key
)
SELECT key FROM made UNION ALL SELECT key FROM keys WHERE name = $1;
