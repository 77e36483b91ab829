-- Leases: the right to work on an attempt until a time. The projector makes a row of every claim
-- and removes it with the attempt; workers keep it alive beside the log. Where this schema is lost
-- it is folded again from the log, and every lease is as long as it was at first.

-- One row an attempt. `session` is the runner process that has it, '' as long as only the claim is
-- known. It lasts `length` seconds from when its worker was heard of last. One that is `marked` is
-- lost, for `reason`: its attempt is being ended.
CREATE TABLE leases (
    ticket   text COLLATE "C" NOT NULL,
    token    bigint NOT NULL,
    task     text NOT NULL,
    worker   text NOT NULL,
    session  text NOT NULL,
    request  text NOT NULL,
    length   double precision NOT NULL CHECK (length > 0),
    deadline timestamptz NOT NULL,
    marked   timestamptz,
    reason   text CHECK ((reason IS NULL) = (marked IS NULL)),
    PRIMARY KEY (ticket, token)
) WITH (fillfactor = 50);

CREATE INDEX leases_worker ON leases (worker, request);
-- None by deadline: each heartbeat would write to every index, which costs far more than that a
-- reaper reads all leases once a second.
CREATE INDEX leases_marked ON leases (marked) WHERE marked IS NOT NULL;

-- Workers that are there, and when each was heard of last.
CREATE TABLE heard (
    worker  text PRIMARY KEY,
    session text NOT NULL,
    at      timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Until when we may take it that some API takes heartbeats in, and that some reaper looks. Whoever
-- notes it later than that has found a gap.
CREATE TABLE hearing (at timestamptz NOT NULL, till timestamptz NOT NULL) WITH (fillfactor = 20);
CREATE UNIQUE INDEX hearing_once ON hearing ((true));
INSERT INTO hearing VALUES (now(), now() + interval '3 seconds');

CREATE TABLE rounds (at timestamptz NOT NULL, till timestamptz NOT NULL) WITH (fillfactor = 20);
CREATE UNIQUE INDEX rounds_once ON rounds ((true));
INSERT INTO rounds VALUES (now(), now() + interval '3 seconds');

-- When heartbeats could not come in or nobody looked. The breaker's gaps have no length: so many of
-- the `open` leases were `silent` at once that nobody believes it.
CREATE TABLE gaps (
    ended  timestamptz NOT NULL,
    began  timestamptz NOT NULL,
    found  text NOT NULL CHECK (found IN ('hearing', 'rounds', 'breaker')),
    silent integer,
    open   integer
);

CREATE INDEX gaps_ended ON gaps (ended);

-- The end of the last gap: now, if one lasts. Whatever ends for silence has its full time from then.
CREATE VIEW quiet AS
SELECT max(till) AS till FROM (
    SELECT max(ended) FROM gaps
    UNION ALL SELECT now() FROM hearing WHERE till < now()
    UNION ALL SELECT now() FROM rounds WHERE till < now()
) AS all_of_them (till);
