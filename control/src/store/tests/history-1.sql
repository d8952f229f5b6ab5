-- Rows as format 1 wrote them: two clients of one instance, of which the first had not gone.
INSERT INTO instances (instance, unattributed_pulls, unattributed_frames, unattributed_ns, last_seen_ns)
VALUES (7, 4, 1920, 40000000, 1795338120000000000);
INSERT INTO clients (instance, client, app, stream, pid, executable, identity, puller_pid, puller_name, api, purpose, state,
    counted_by, first_seen_ns, last_pull_ns, last_seen_ns, live_pulls, live_frames, live_ns, muted_pulls, muted_frames,
    muted_ns, xruns, lost)
VALUES
    (7, 1, 'zoom', 'ZOOM VoiceEngine', 4242, '/opt/zoom/zoom', 'corroborated', 900, 'pipewire-pulse', 'pulse', 'recording',
     'running', 'activation_record', 1795338000000000000, 1795338119990000000, 1795338120000000000, 100, 48000, 1000000000,
     6000, 2880000, 60000000000, 0, 0),
    (7, 2, 'firefox', 'AudioStream', NULL, NULL, 'claimed', NULL, NULL, 'unknown', 'meter', 'gone', 'profiler',
     1795338000000000000, NULL, 1795338060000000000, 50, 24000, 500000000, 0, 0, 0, 1, 2);
INSERT INTO minutes (minute, client, live_pulls, live_frames, live_ns, muted_pulls, muted_frames, muted_ns, xruns, lost,
    connected_live_ns, connected_muted_ns, interval_p50_us, interval_p99_us, interval_max_us)
VALUES
    (29922300, 1, 100, 48000, 1000000000, 1000, 480000, 10000000000, 0, 0, 1000000000, 10000000000, 10000, 10400, 12000),
    (29922301, 1, 0, 0, 0, 5000, 2400000, 50000000000, 0, 0, 0, 50000000000, 10000, 10400, 21000),
    (29922300, 2, 50, 24000, 500000000, 0, 0, 0, 1, 2, 500000000, 0, 0, 0, 0);
INSERT INTO unattributed (minute, instance, pulls, frames, ns) VALUES (29922300, 7, 4, 1920, 40000000);
INSERT INTO gate_changes (at_ns, gate, reason, clock, position)
VALUES (1795338000000000000, 'muted', 'start', NULL, NULL), (1795338001000000000, 'live', 'cli', '53', 48000);
