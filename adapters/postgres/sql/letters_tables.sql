-- An index of dead letters that lie in Kafka: made of the topic alone, and so can be made anew.
-- `sequence` in `partitions` is the offset behind the last record that was read.

CREATE TABLE letters (
    partition   integer NOT NULL REFERENCES partitions,
    place       bigint NOT NULL,
    at          timestamptz NOT NULL,
    kind        text NOT NULL,
    topic       text,
    of          integer NOT NULL,
    position    bigint,
    stream      text,
    type        text,
    command     text,
    actor       text,
    reason      text NOT NULL,
    size        bigint NOT NULL,
    settled_at  timestamptz,
    settled_by  text,
    settled_how text,
    settled_why text,
    settled_in  bigint, -- the offset of the record that says so
    PRIMARY KEY (partition, place)
);

CREATE INDEX letters_open ON letters (at, partition, place) WHERE settled_at IS NULL;
CREATE INDEX letters_settled ON letters (at, partition, place) WHERE settled_at IS NOT NULL;
