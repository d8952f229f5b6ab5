//! What the disk does to the store.

use super::*;
use crate::stats::tests::{T0, client, tally};

#[test]
fn a_second_connection_reads_while_the_first_records() {
    let (_directory, path) = place();
    let recorder = start(&path);
    let mut app = client(1, "app");
    for pulls in 1..=20 {
        app.counts.muted = tally(pulls);
        recorder.snapshot_at(&snapshot(1, T0, std::slice::from_ref(&app)), pulls);
        wait_until("the pulls in the file", || {
            stored_pulls(&path) == (0, pulls)
        });
    }
}
