-- What the reactor remembers of tickets for its policies. Each row of `keyed` and `awaiting` is
-- written by whoever has the partition of its ticket; `newest` and `ends` are where reactors of
-- different partitions meet: their rows are locked before anything is looked up.

-- Tickets that take the place of older ones; `cause` is the event by which one is open. A key is
-- held by its hash, since it may be longer than what an index takes.
CREATE TABLE keyed (
    ticket text COLLATE "C" PRIMARY KEY,
    key    bytea NOT NULL,
    place  bigint NOT NULL,
    cause  uuid
) WITH (fillfactor = 80);

CREATE INDEX keyed_open ON keyed (key, place, ticket) WHERE cause IS NOT NULL;

-- The newest ticket of each key; of two at the same place the one with the higher id.
CREATE TABLE newest (
    key    bytea PRIMARY KEY,
    name   text NOT NULL,
    place  bigint NOT NULL,
    ticket text COLLATE "C" NOT NULL
) WITH (fillfactor = 80);

-- Tickets that wait for others, until those have passed.
CREATE TABLE awaiting (
    awaited text COLLATE "C" NOT NULL,
    waiter  text COLLATE "C" NOT NULL,
    PRIMARY KEY (awaited, waiter)
);

CREATE INDEX awaiting_waiter ON awaiting (waiter);

-- How tickets have ended; none where one is awaited or runs again. Who waits may come later.
CREATE TABLE ends (
    ticket text COLLATE "C" PRIMARY KEY,
    state  text CHECK (state IN ('passed', 'failed', 'errored', 'cancelled', 'superseded',
               'expired'))
) WITH (fillfactor = 90);

-- Commands that are to be sent because of events of the partition.
CREATE TABLE outbox (
    partition integer NOT NULL,
    n         bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    id        uuid NOT NULL,
    stream    text NOT NULL,
    actor     text NOT NULL,
    topic     text NOT NULL,
    schema    smallint NOT NULL,
    data      bytea NOT NULL,
    PRIMARY KEY (partition, id)
) WITH (fillfactor = 50);
