-- The log. Every statement may be run again on a schema that is there.

-- One row a partition: its owner, and how far it has come. A commit changes it with the events,
-- in one statement: the epoch fences older owners.
CREATE TABLE IF NOT EXISTS partitions (
    partition  integer PRIMARY KEY CHECK (partition >= 0),
    format     integer NOT NULL,
    of         integer NOT NULL CHECK (of > partition),
    id         uuid NOT NULL,
    owner      text,
    owned_till timestamptz NOT NULL DEFAULT '-infinity',
    epoch      bigint NOT NULL DEFAULT 0,
    sequence   bigint NOT NULL DEFAULT 0,
    position   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

-- Those who share the partitions.
CREATE TABLE IF NOT EXISTS members (
    member text PRIMARY KEY,
    till   timestamptz NOT NULL
) WITH (fillfactor = 20);

CREATE TABLE IF NOT EXISTS events (
    partition          integer NOT NULL REFERENCES partitions,
    sequence           bigint NOT NULL CHECK (sequence > 0),
    originator_id      text NOT NULL,
    originator_version integer NOT NULL CHECK (originator_version >= 0),
    topic              text NOT NULL,
    schemaversion      smallint,
    id                 uuid,
    causationid        uuid,
    time               timestamptz,
    actor              text,
    upto               bigint NOT NULL DEFAULT 0,
    traceparent        text,
    state              bytea NOT NULL,
    PRIMARY KEY (partition, sequence),
    CONSTRAINT events_version_taken UNIQUE (originator_id, originator_version)
) WITH (fillfactor = 100);
-- Without id, time, actor and causationid: written by another application of `eventsourcing`.

-- One row a partition: the last position given. Whoever gives the next one holds the row until it
-- is committed, so that no reader passes a position that is still to come.
CREATE TABLE IF NOT EXISTS inboxes (
    partition integer PRIMARY KEY REFERENCES partitions,
    position  bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

CREATE TABLE IF NOT EXISTS commands (
    partition   integer NOT NULL,
    position    bigint NOT NULL CHECK (position > 0),
    at          timestamptz NOT NULL,
    id          uuid NOT NULL,
    stream      text NOT NULL,
    topic       text NOT NULL,
    schema      smallint NOT NULL,
    actor       text NOT NULL,
    patience    double precision,
    reply_to    text,
    traceparent text,
    data        bytea NOT NULL,
    PRIMARY KEY (partition, position)
);

CREATE TABLE IF NOT EXISTS dead_letters (
    LIKE commands,
    reason  text NOT NULL,
    dead_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition, position)
);

-- How far the readers of another application's log have come (`eventsourcing`'s tracking).
CREATE TABLE IF NOT EXISTS tracking (
    application_name text PRIMARY KEY,
    notification_id  bigint NOT NULL
);

-- What became of dead letters. Only where that is not there yet: to add what is there would wait
-- for every commit, and every commit for it.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'dead_letters'::regclass AND attname = 'settled_at'
    ) THEN
        ALTER TABLE dead_letters
            ADD COLUMN settled_at  timestamptz,
            ADD COLUMN settled_by  text,
            ADD COLUMN settled_how text,
            ADD COLUMN settled_why text;
        CREATE INDEX dead_letters_open ON dead_letters (dead_at, partition, position)
            WHERE settled_at IS NULL;
        CREATE INDEX dead_letters_settled ON dead_letters (dead_at, partition, position)
            WHERE settled_at IS NOT NULL;
    END IF;
END
$$;
