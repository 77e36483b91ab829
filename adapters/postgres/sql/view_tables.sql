-- What every view has. A view lives in a schema of its own, so that it can be folded again beside
-- the one that is in use.

-- One row a partition: who folds it, and how far it has come. It changes with the rows, in one
-- transaction: the epoch fences older owners. `log` is the id of the log's partition, and `event`
-- that of the last event, so that the rows are known to be of that log.
CREATE TABLE partitions (
    partition  integer PRIMARY KEY CHECK (partition >= 0),
    format     integer NOT NULL,
    log        uuid NOT NULL,
    owner      text,
    owned_till timestamptz NOT NULL DEFAULT '-infinity',
    epoch      bigint NOT NULL DEFAULT 0,
    sequence   bigint NOT NULL DEFAULT 0,
    event      uuid
) WITH (fillfactor = 20);

-- Those who share the partitions.
CREATE TABLE members (
    member text PRIMARY KEY,
    till   timestamptz NOT NULL
) WITH (fillfactor = 20);
