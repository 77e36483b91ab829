-- The view of workers: see `projections/workers.py`.

CREATE TABLE workers (
    worker        text COLLATE "C" PRIMARY KEY,
    partition     integer NOT NULL,
    state         text NOT NULL CHECK (state IN ('available', 'draining', 'gone')),
    session       text NOT NULL,
    home          text NOT NULL,
    capabilities  json NOT NULL,
    slots         integer NOT NULL CHECK (slots > 0),
    registered_at timestamptz NOT NULL,
    since         timestamptz NOT NULL,
    reason        text NOT NULL,
    version       integer NOT NULL CHECK (version > 0),
    sequence      bigint NOT NULL CHECK (sequence > 0),
    problem       text
) WITH (fillfactor = 80);

-- Most have been there once; those that are there are looked for.
CREATE INDEX workers_state ON workers (state, worker);
