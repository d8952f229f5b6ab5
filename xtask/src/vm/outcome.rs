//! What the checks found: read from the machine's lines, printed as a table, kept in docs/reliability.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const BEGIN: &str = "<!-- written by cargo xtask vm -->";
const END: &str = "<!-- end of what cargo xtask vm wrote -->";

/// Characters of a cell: what is longer is an error's message, whole in the log.
const CELL: usize = 400;

/// How one check ended.
struct Outcome {
    check: String,
    /// "pass", "fail" or "not possible".
    result: String,
    detail: String,
}

/// All of them, and what the machine said of itself.
#[derive(Default)]
pub(super) struct Outcomes {
    checks: Vec<Outcome>,
    system: Option<String>,
    complete: bool,
}

impl Outcomes {
    /// Reads one line of the machine.
    pub(super) fn take(&mut self, line: &str) {
        let Ok(value) = serde_json::from_str::<Value>(line) else {
            return;
        };
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        if let Some(system) = text("system") {
            self.system = Some(system);
        }
        if value["complete"] == true {
            self.complete = true;
        }
        if let (Some(check), Some(result), Some(detail)) =
            (text("check"), text("result"), text("detail"))
        {
            self.checks.push(Outcome {
                check,
                result,
                detail,
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// Whether the last check came to its end.
    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    pub(super) fn any_failed(&self) -> bool {
        self.checks.iter().any(|it| it.result == "fail")
    }

    /// The table for people.
    pub(super) fn print(&self, took: Duration) {
        println!();
        for it in &self.checks {
            println!("{:<12} {}", it.result, it.check);
            println!("{:<12}   {}", "", it.detail);
        }
        println!("\n{}", self.sum(took));
    }

    fn sum(&self, took: Duration) -> String {
        let count = |result: &str| self.checks.iter().filter(|it| it.result == result).count();
        format!(
            "{} passed, {} failed, {} not possible, in {} s.",
            count("pass"),
            count("fail"),
            count("not possible"),
            took.as_secs()
        )
    }

    /// Replaces what an earlier run wrote between the markers.
    pub(super) fn keep(&self, file: &Path, took: Duration) -> Result<()> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let Some((before, (_, after))) = text
            .split_once(BEGIN)
            .and_then(|(before, rest)| Some((before, rest.split_once(END)?)))
        else {
            bail!(
                "{} has no lines `{BEGIN}` and `{END}`. Put them where the table belongs",
                file.display()
            );
        };
        let mut table = String::from("| check | result | what was seen |\n|---|---|---|\n");
        for it in &self.checks {
            writeln!(
                table,
                "| {} | {} | {} |",
                cell(&it.check),
                it.result,
                cell(&it.detail)
            )?;
        }
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').nth(1).unwrap_or("unknown");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let system = self.system.as_deref().unwrap_or("an unknown system");
        let sum = self.sum(took);
        let text = format!(
            "{before}{BEGIN}\n{sum} {system} Host: {cores} cores, load {load}.\n\n{table}{END}{after}"
        );
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// A text as one cell of a table.
fn cell(text: &str) -> String {
    let mut text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = text.char_indices().nth(CELL) {
        text.truncate(at);
        text.push_str("...");
    }
    text.replace('|', "\\|")
}
