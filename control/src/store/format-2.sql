-- Format 2 of the history: who got a real mic's sound past the gate. Times are nanoseconds since 1970 (UTC) unless the name
-- says otherwise.

-- One client on one real mic. Its figures are since it came, as of last_seen_ns.
CREATE TABLE bypasses (
    id           INTEGER PRIMARY KEY,
    instance     INTEGER NOT NULL,
    bypass       INTEGER NOT NULL, -- unique within the instance
    app          TEXT NOT NULL,
    stream       TEXT NOT NULL,
    pid          INTEGER,
    executable   TEXT,
    identity     TEXT NOT NULL, -- verified, corroborated, claimed
    puller_pid   INTEGER,
    puller_name  TEXT,
    api          TEXT NOT NULL,
    purpose      TEXT NOT NULL,
    state        TEXT NOT NULL,
    real_mic     TEXT NOT NULL,
    through      TEXT NOT NULL, -- JSON array of names, in the order of the sound's way; empty: linked to the mic itself
    since_ns     INTEGER NOT NULL,
    until_ns     INTEGER, -- absent while it is there, or if the daemon ended before it
    last_seen_ns INTEGER NOT NULL,
    duration_ns  INTEGER NOT NULL, -- time in which sound could flow
    frames       INTEGER NOT NULL,
    frames_exact INTEGER NOT NULL, -- 1: counted, 0: estimated
    done         TEXT NOT NULL, -- reported, cut
    cuts         INTEGER NOT NULL,
    UNIQUE (instance, bypass)
) STRICT;
CREATE INDEX bypasses_last_seen ON bypasses (last_seen_ns);
