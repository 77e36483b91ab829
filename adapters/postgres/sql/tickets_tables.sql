-- The views of tickets: see `projections/rows.py`.

CREATE TABLE tickets (
    ticket           text PRIMARY KEY,
    partition        integer NOT NULL,
    kind             text NOT NULL,
    project          text NOT NULL,
    name             text NOT NULL,
    revision         text NOT NULL,
    url              text,
    labels           jsonb NOT NULL,
    supersedes       text,
    supersedes_order bigint,
    not_before       timestamptz,
    opened_at        timestamptz NOT NULL,
    opened_by        text NOT NULL,
    state            text NOT NULL CHECK (state IN ('queued', 'running', 'passed', 'failed',
                         'errored', 'cancelled', 'superseded', 'expired')),
    priority         integer NOT NULL,
    sealed           boolean NOT NULL,
    deadline         timestamptz NOT NULL,
    started_at       timestamptz,
    ended_at         timestamptz,
    reason           text NOT NULL,
    superseded_by    text,
    tasks            integer NOT NULL CHECK (
                         tasks = waiting + working + passed + failed + errored + dropped),
    waiting          integer NOT NULL CHECK (waiting >= 0),
    working          integer NOT NULL CHECK (working >= 0),
    passed           integer NOT NULL CHECK (passed >= 0),
    failed           integer NOT NULL CHECK (failed >= 0),
    errored          integer NOT NULL CHECK (errored >= 0),
    dropped          integer NOT NULL CHECK (dropped >= 0),
    version          integer NOT NULL CHECK (version > 0),
    sequence         bigint NOT NULL CHECK (sequence > 0),
    changed_at       timestamptz NOT NULL,
    problem          text,
    waits_for        json NOT NULL
) WITH (fillfactor = 60);

CREATE INDEX tickets_opened ON tickets (opened_at, ticket);
CREATE INDEX tickets_project ON tickets (project, opened_at, ticket);
-- Most tickets pass; those that did not are looked for.
CREATE INDEX tickets_state ON tickets (state, opened_at, ticket) WHERE state <> 'passed';
CREATE INDEX tickets_project_state ON tickets (project, state, opened_at, ticket)
    WHERE state <> 'passed';
CREATE INDEX tickets_kind ON tickets (kind, opened_at, ticket);
CREATE INDEX tickets_name ON tickets (name, project, opened_at, ticket);
CREATE INDEX tickets_revision ON tickets (revision);
CREATE INDEX tickets_labels ON tickets USING gin (labels jsonb_path_ops);
CREATE INDEX tickets_open ON tickets (deadline, ticket)
    WHERE state IN ('queued', 'running');
CREATE INDEX tickets_supersedes ON tickets (supersedes, supersedes_order)
    WHERE supersedes IS NOT NULL;

CREATE TABLE tasks (
    ticket    text NOT NULL,
    task      text NOT NULL,
    n         integer NOT NULL CHECK (n >= 0),
    project   text NOT NULL,
    class     text NOT NULL,
    required  boolean NOT NULL,
    spec      json NOT NULL,
    state     text NOT NULL CHECK (state IN ('blocked', 'held', 'ready', 'claimed', 'running',
                  'passed', 'failed', 'errored', 'timed_out', 'skipped', 'cancelled')),
    since     timestamptz NOT NULL,
    created   text NOT NULL,
    ready_at  timestamptz,
    rank      double precision CHECK ((rank IS NOT NULL) = (state = 'ready')),
    attempts  integer NOT NULL CHECK (attempts >= 0),
    token     integer,
    worker    text,
    execution text,
    outcome   text,
    reason    text NOT NULL,
    because   text,
    due       timestamptz CHECK ((due IS NOT NULL) = (state IN ('ready', 'claimed', 'running'))),
    PRIMARY KEY (ticket, task)
) WITH (fillfactor = 60);

CREATE INDEX tasks_queue ON tasks (class, project, rank, ticket, task) WHERE rank IS NOT NULL;
CREATE INDEX tasks_ranks ON tasks (rank, ticket, task) WHERE rank IS NOT NULL;
CREATE INDEX tasks_due ON tasks (due, ticket, task) WHERE due IS NOT NULL;
CREATE INDEX tasks_at_work ON tasks (worker) WHERE state IN ('claimed', 'running');
CREATE INDEX tasks_places ON tasks (ticket, n);

-- What a worker must have for the tasks of a class. Only what is new is written.
CREATE TABLE classes (
    class    text PRIMARY KEY,
    requires json NOT NULL
);

CREATE TABLE attempts (
    ticket     text NOT NULL,
    token      integer NOT NULL,
    task       text NOT NULL,
    number     integer NOT NULL CHECK (number > 0),
    worker     text NOT NULL,
    request    text NOT NULL,
    lease      double precision NOT NULL,
    created    text NOT NULL,
    claimed_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at   timestamptz,
    ended      text CHECK ((ended IS NULL) = (ended_at IS NULL)),
    execution  text,
    outcome    text,
    reason     text NOT NULL,
    log        text,
    artifacts  json NOT NULL,
    refused    boolean NOT NULL,
    PRIMARY KEY (ticket, token)
) WITH (fillfactor = 60);

CREATE INDEX attempts_worker ON attempts (worker, claimed_at);

CREATE TABLE results (
    ticket   text NOT NULL,
    token    integer NOT NULL,
    n        integer NOT NULL CHECK (n >= 0),
    task     text NOT NULL,
    project  text NOT NULL,
    testcase text NOT NULL,
    outcome  text NOT NULL CHECK (outcome IN ('passed', 'failed', 'info', 'needs_inspection',
                 'skipped')),
    summary  text NOT NULL,
    duration double precision,
    log      text,
    at       timestamptz NOT NULL,
    PRIMARY KEY (ticket, token, n)
) WITH (fillfactor = 100);

-- Whoever asks for any outcome asks for each.
CREATE INDEX results_testcase ON results (testcase, outcome, at, ticket, token, n);
CREATE INDEX results_project ON results (project, testcase, at, ticket, token, n);
