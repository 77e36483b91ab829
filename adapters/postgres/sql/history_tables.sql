-- The archive: the log's events by their streams, in the columns of the log in PostgreSQL.

CREATE TABLE events (
    partition          integer NOT NULL,
    sequence           bigint NOT NULL CHECK (sequence > 0),
    originator_id      text NOT NULL,
    originator_version integer NOT NULL CHECK (originator_version > 0),
    topic              text NOT NULL,
    schemaversion      smallint NOT NULL,
    id                 uuid NOT NULL,
    causationid        uuid NOT NULL,
    time               timestamptz NOT NULL,
    actor              text NOT NULL,
    upto               bigint NOT NULL,
    traceparent        text,
    state              bytea NOT NULL,
    PRIMARY KEY (partition, sequence),
    CONSTRAINT events_version_taken UNIQUE (originator_id, originator_version)
) WITH (fillfactor = 100);
