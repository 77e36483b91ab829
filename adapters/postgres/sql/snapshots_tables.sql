-- Snapshots of the partitions' states, in a schema of their own. A cache: it may be dropped.

-- `until` and what follows are the end mark: without them it is not complete.
CREATE TABLE IF NOT EXISTS snapshots (
    snapshot    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition   integer NOT NULL CHECK (partition >= 0),
    log         uuid NOT NULL,
    form        bytea NOT NULL,
    sequence    bigint NOT NULL CHECK (sequence > 0),
    event       uuid NOT NULL,
    begun_at    timestamptz NOT NULL DEFAULT now(),
    until       bigint CHECK (until >= sequence),
    until_event uuid,
    evicted     bigint,
    quarantined text[],
    parts       integer,
    ended_at    timestamptz
);

CREATE INDEX IF NOT EXISTS snapshots_partition ON snapshots (partition, sequence);

-- `digest` is that of the snapshot's number, n and the data.
CREATE TABLE IF NOT EXISTS parts (
    snapshot bigint NOT NULL REFERENCES snapshots ON DELETE CASCADE,
    n        integer NOT NULL CHECK (n >= 0),
    digest   bytea NOT NULL,
    data     bytea NOT NULL,
    PRIMARY KEY (snapshot, n)
);
-- Compressing it would cost the server more than keeping it.
ALTER TABLE parts ALTER COLUMN data SET STORAGE EXTERNAL;
