//! `stats --csv`: one row a client, for spreadsheets. docs/history.md lists the columns. App names come from strangers, so
//! no cell of text can become a formula.

use std::io::Write;
use std::path::Path;

use csv::WriterBuilder;
use serde::Serialize;
use truemute_core::observed::{Api, ClientState, CountedBy, Identity, Purpose};

use crate::protocol::{Behaviour, Stats};

/// The header line. Also stands there when there is no client.
const COLUMNS: [&str; 32] = [
    "since",
    "until",
    "instance",
    "id",
    "app",
    "stream",
    "pid",
    "executable",
    "identity",
    "puller_pid",
    "puller",
    "api",
    "purpose",
    "state",
    "live_pulls",
    "live_frames",
    "live_seconds",
    "muted_pulls",
    "muted_frames",
    "muted_seconds",
    "exact",
    "counted_by",
    "xruns",
    "lost",
    "first_seen",
    "last_pull",
    "interval_p50_us",
    "interval_p99_us",
    "interval_max_us",
    "connected_live_seconds",
    "connected_muted_seconds",
    "behaviour_while_muted",
];

/// A row: its fields are the columns, in their order. New ones are added at the end.
#[derive(Serialize)]
struct Row<'a> {
    since: &'a str,
    until: &'a str,
    instance: u64,
    id: u64,
    app: String,
    stream: String,
    pid: Option<u32>,
    executable: Option<String>,
    identity: Identity,
    puller_pid: Option<u32>,
    puller: Option<String>,
    api: Api,
    purpose: Purpose,
    state: ClientState,
    live_pulls: u64,
    live_frames: u64,
    live_seconds: f64,
    muted_pulls: u64,
    muted_frames: u64,
    muted_seconds: f64,
    exact: bool,
    counted_by: CountedBy,
    xruns: u64,
    lost: u64,
    first_seen: &'a str,
    last_pull: Option<&'a str>,
    interval_p50_us: u64,
    interval_p99_us: u64,
    interval_max_us: u64,
    connected_live_seconds: f64,
    connected_muted_seconds: f64,
    behaviour_while_muted: Behaviour,
}

/// Writes the clients as RFC 4180 CSV with a header line. Unattributed pulls have no row: they are in `--json`.
pub fn write_csv(stats: &Stats, out: impl Write) -> csv::Result<()> {
    let mut writer = WriterBuilder::new().has_headers(false).from_writer(out);
    writer.write_record(COLUMNS)?;
    for client in &stats.clients {
        let path = |path: &Path| text(&path.to_string_lossy());
        writer.serialize(Row {
            since: &stats.since,
            until: &stats.until,
            instance: client.instance,
            id: client.id,
            app: text(&client.who.app),
            stream: text(&client.who.stream),
            pid: client.who.pid,
            executable: client.who.executable.as_deref().map(path),
            identity: client.who.identity,
            puller_pid: client.who.puller.as_ref().map(|puller| puller.pid),
            puller: client.who.puller.as_ref().map(|puller| text(&puller.name)),
            api: client.who.api,
            purpose: client.who.purpose,
            state: client.state,
            live_pulls: client.live.pulls,
            live_frames: client.live.frames,
            live_seconds: client.live.seconds,
            muted_pulls: client.muted.pulls,
            muted_frames: client.muted.frames,
            muted_seconds: client.muted.seconds,
            exact: client.exact,
            counted_by: client.counted_by,
            xruns: client.xruns,
            lost: client.lost,
            first_seen: &client.first_seen,
            last_pull: client.last_pull.as_deref(),
            interval_p50_us: client.interval_us.p50,
            interval_p99_us: client.interval_us.p99,
            interval_max_us: client.interval_us.max,
            connected_live_seconds: client.connected.live_seconds,
            connected_muted_seconds: client.connected.muted_seconds,
            behaviour_while_muted: client.behaviour_while_muted,
        })?;
    }
    writer.flush()?;
    Ok(())
}

/// Text that a spreadsheet shows as it is: one that begins like a formula (OWASP, "CSV Injection") gets an apostrophe before
/// it, which spreadsheets take as "this is text", and control characters become spaces. The exact names are in `--json`.
fn text(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    // The last four are the full-width forms, which some spreadsheets take for the plain ones.
    const BEGINNINGS: [char; 8] = [
        '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ];
    if plain.trim_start().starts_with(BEGINNINGS) {
        format!("'{plain}")
    } else {
        plain
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::tests::some_stats;

    fn csv(stats: &Stats) -> String {
        let mut out = Vec::new();
        write_csv(stats, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_are_as_documented() {
        insta::assert_snapshot!(csv(&some_stats()));
    }

    #[test]
    fn each_column_has_its_field_and_its_line_in_the_documentation() {
        let table = csv(&some_stats());
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        assert_eq!(reader.headers().unwrap().len(), COLUMNS.len());
        assert_eq!(
            reader.records().next().unwrap().unwrap().len(),
            COLUMNS.len()
        );
        let papers = include_str!("../../../docs/history.md");
        for column in COLUMNS {
            assert!(
                papers.contains(&format!("| `{column}` |")),
                "docs/history.md lacks {column}"
            );
        }
    }

    #[test]
    fn without_clients_there_is_a_header() {
        let mut stats = some_stats();
        stats.clients.clear();
        assert_eq!(csv(&stats).trim_end(), COLUMNS.join(","));
    }

    proptest! {
        #[test]
        fn no_name_becomes_a_formula(name in any::<String>()) {
            let mut stats = some_stats();
            stats.clients[0].who.app = name.clone();
            stats.clients[0].who.stream = format!("\t ={name}");
            let table = csv(&stats);
            for record in csv::Reader::from_reader(table.as_bytes()).records() {
                let record = record.unwrap();
                prop_assert_eq!(record.len(), COLUMNS.len());
                for cell in &record {
                    let first = cell.trim_start().chars().next();
                    prop_assert!(!first.is_some_and(|first| "=+-@".contains(first)));
                    prop_assert!(!cell.chars().any(char::is_control));
                }
            }
        }
    }
}
