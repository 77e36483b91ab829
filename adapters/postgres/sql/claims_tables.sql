-- Tasks that are being claimed. Whatever is here is advice, and soon forgotten: the ticket decides.

-- One row a task: who claims it by which request, and which waiting of the task it is for, by when
-- that began. The one of an earlier waiting keeps nobody away.
CREATE UNLOGGED TABLE IF NOT EXISTS reservations (
    ticket  text NOT NULL,
    task    text NOT NULL,
    since   timestamptz NOT NULL,
    worker  text NOT NULL,
    request text NOT NULL,
    until   timestamptz NOT NULL,
    PRIMARY KEY (ticket, task)
) WITH (fillfactor = 70);

CREATE INDEX IF NOT EXISTS reservations_request ON reservations (request);
CREATE INDEX IF NOT EXISTS reservations_until ON reservations (until);
