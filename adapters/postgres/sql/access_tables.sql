-- Tokens: only their digests are kept.
CREATE TABLE IF NOT EXISTS tokens (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    digest     bytea NOT NULL UNIQUE,
    scopes     text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    last_used_at    timestamptz
);

-- What the API's processes sign with.
CREATE TABLE IF NOT EXISTS keys (
    name text PRIMARY KEY,
    key  bytea NOT NULL
);
