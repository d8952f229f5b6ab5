-- Format 1 of the history. Times are nanoseconds since 1970 (UTC) unless the name says otherwise.

-- One start of the backend; counts of an instance only grow.
CREATE TABLE instances (
    id                  INTEGER PRIMARY KEY,
    instance            INTEGER NOT NULL UNIQUE, -- the backend's 64-bit number, stored as a signed one
    -- cumulative since the instance began, as of the last reading
    unattributed_pulls  INTEGER NOT NULL,
    unattributed_frames INTEGER NOT NULL,
    unattributed_ns     INTEGER NOT NULL,
    last_seen_ns        INTEGER NOT NULL
) STRICT;

-- One capture stream of one app.
CREATE TABLE clients (
    id            INTEGER PRIMARY KEY,
    instance      INTEGER NOT NULL,
    client        INTEGER NOT NULL, -- unique within the instance
    app           TEXT NOT NULL,
    stream        TEXT NOT NULL,
    pid           INTEGER,
    executable    TEXT,
    identity      TEXT NOT NULL, -- verified, corroborated, claimed
    puller_pid    INTEGER,
    puller_name   TEXT,
    api           TEXT NOT NULL,
    purpose       TEXT NOT NULL,
    state         TEXT NOT NULL, -- as of last_seen_ns
    counted_by    TEXT NOT NULL,
    first_seen_ns INTEGER NOT NULL,
    last_pull_ns  INTEGER,
    last_seen_ns  INTEGER NOT NULL,
    -- cumulative since the client came, as of the last reading: a recorder that restarts goes on from here
    live_pulls    INTEGER NOT NULL,
    live_frames   INTEGER NOT NULL,
    live_ns       INTEGER NOT NULL,
    muted_pulls   INTEGER NOT NULL,
    muted_frames  INTEGER NOT NULL,
    muted_ns      INTEGER NOT NULL,
    xruns         INTEGER NOT NULL,
    lost          INTEGER NOT NULL,
    UNIQUE (instance, client)
) STRICT;

-- What one client did in one minute; a minute in which it was neither connected nor counted has no row.
CREATE TABLE minutes (
    minute             INTEGER NOT NULL, -- minutes since 1970
    client             INTEGER NOT NULL REFERENCES clients (id),
    live_pulls         INTEGER NOT NULL,
    live_frames        INTEGER NOT NULL,
    live_ns            INTEGER NOT NULL, -- sound that these frames span
    muted_pulls        INTEGER NOT NULL,
    muted_frames       INTEGER NOT NULL,
    muted_ns           INTEGER NOT NULL,
    xruns              INTEGER NOT NULL,
    lost               INTEGER NOT NULL,
    connected_live_ns  INTEGER NOT NULL,
    connected_muted_ns INTEGER NOT NULL,
    -- time between pulls since the client came, as of the end of this minute
    interval_p50_us    INTEGER NOT NULL,
    interval_p99_us    INTEGER NOT NULL,
    interval_max_us    INTEGER NOT NULL,
    PRIMARY KEY (minute, client)
) STRICT, WITHOUT ROWID;

-- Pulls that could not be given to any client.
CREATE TABLE unattributed (
    minute   INTEGER NOT NULL,
    instance INTEGER NOT NULL,
    pulls    INTEGER NOT NULL,
    frames   INTEGER NOT NULL,
    ns       INTEGER NOT NULL,
    PRIMARY KEY (minute, instance)
) STRICT, WITHOUT ROWID;

CREATE TABLE gate_changes (
    id       INTEGER PRIMARY KEY,
    at_ns    INTEGER NOT NULL,
    gate     TEXT NOT NULL, -- live, muted
    reason   TEXT NOT NULL,
    clock    TEXT,
    position INTEGER
) STRICT;
CREATE INDEX gate_changes_at ON gate_changes (at_ns);
