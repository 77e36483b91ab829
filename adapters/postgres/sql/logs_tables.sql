-- The logs of attempts. What has come last lies in chunks; when they make a segment it goes to the
-- object store and they go away: so what is here stays small, however much is said.

-- `most` bytes it may have; `sealed` are in segments. It is settled when it has ended and all of it
-- is in segments. A log's objects are named by its `id`.
CREATE TABLE IF NOT EXISTS logs (
    ticket     text NOT NULL,
    token      integer NOT NULL,
    task       text NOT NULL,
    id         uuid NOT NULL DEFAULT gen_random_uuid(),
    size       bigint NOT NULL CHECK (size <= most),
    most       bigint NOT NULL,
    sealed     bigint NOT NULL DEFAULT 0 CHECK (sealed <= size),
    segments   integer NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    settled    boolean NOT NULL DEFAULT false
                   CHECK (NOT settled OR ended_at IS NOT NULL AND sealed = size),
    PRIMARY KEY (ticket, token)
) WITH (fillfactor = 60);

CREATE INDEX IF NOT EXISTS logs_unsettled ON logs (ticket, token) WHERE NOT settled;

-- `data` are `size` bytes, compressed.
CREATE TABLE IF NOT EXISTS chunks (
    ticket text NOT NULL,
    token  integer NOT NULL,
    start  bigint NOT NULL CHECK (start >= 0),
    size   integer NOT NULL CHECK (size > 0),
    data   bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (ticket, token, start)
);

CREATE TABLE IF NOT EXISTS segments (
    ticket text NOT NULL,
    token  integer NOT NULL,
    n      integer NOT NULL CHECK (n >= 0),
    start  bigint NOT NULL CHECK (start >= 0),
    size   integer NOT NULL CHECK (size > 0),
    object text NOT NULL,
    PRIMARY KEY (ticket, token, start)
);
