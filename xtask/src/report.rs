//! What a person sees while steps run: a live line on a terminal, plain lines elsewhere, and the table at the end.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::process::{self, Ended};
use crate::tally::Tally;

/// Without a terminal: how often a long step says that it is alive.
const STILL_RUNNING: Duration = Duration::from_secs(30);
/// How much of a failed command's output is shown.
const TAIL_LINES: usize = 60;

/// Shows the progress of the step that is running now.
pub(crate) struct Progress {
    /// "[3/12] clippy"; empty between steps.
    title: String,
    bar: Option<ProgressBar>,
    started: Instant,
    last_said: Instant,
    last_line: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = stdout().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed}: {wide_msg}");
            ProgressBar::new_spinner()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        let now = Instant::now();
        Self {
            title: String::new(),
            bar,
            started: now,
            last_said: now,
            last_line: String::new(),
        }
    }

    /// Opens a step: from now on the live line carries this title.
    pub(crate) fn begin(&mut self, title: &str, about: &str) {
        self.title = title.to_owned();
        self.started = Instant::now();
        self.last_said = self.started;
        self.last_line.clear();
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_prefix(self.title.clone());
            bar.set_message("");
        }
        self.say(&format!("{title}: {about}"));
    }

    /// Time since the step began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes the live line away.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Prints a line that stays.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) if !bar.is_finished() => bar.suspend(|| println!("{line}")),
            _ => println!("{line}"),
        }
    }

    /// The newest line of the running command (`None`: nothing new, time passes).
    fn tick(&mut self, line: Option<&str>) {
        // Cargo's messages to programs say nothing to a person.
        let worth_showing = |line: &&str| !line.is_empty() && !line.starts_with("{\"reason\"");
        if let Some(line) = line.map(str::trim).filter(worth_showing) {
            line.clone_into(&mut self.last_line);
            if let Some(bar) = &self.bar {
                bar.set_message(self.last_line.clone());
            }
        }
        if let Some(bar) = &self.bar {
            bar.tick();
        } else if self.last_said.elapsed() >= STILL_RUNNING {
            self.last_said = Instant::now();
            let seconds = self.started.elapsed().as_secs();
            println!(
                "{}: {seconds} s so far, now: {}",
                self.title,
                shorten(&self.last_line, 100)
            );
        }
    }

    /// Shows lines that other threads send, until the last of them is done.
    pub(crate) fn follow(&mut self, lines: &mpsc::Receiver<String>) {
        loop {
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => self.tick(Some(&line)),
                Err(mpsc::RecvTimeoutError::Timeout) => self.tick(None),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Runs a command with its output in `log` and its newest line on the live line; `on_line` sees each line too.
    pub(crate) fn run(
        &mut self,
        command: Command,
        log: &Path,
        limit: Duration,
        mut on_line: impl FnMut(&str),
    ) -> Result<Ended> {
        process::run(command, log, limit, |line| {
            if let Some(line) = line {
                on_line(line);
            }
            self.tick(line);
        })
    }
}

/// One line of the table at the end.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) took: Duration,
    pub(crate) tally: Tally,
    pub(crate) log: PathBuf,
}

/// Prints the table, what was skipped and why, what failed and where its log is; returns the sum of all rows.
pub(crate) fn summary(rows: &[Row], took: Duration) -> Tally {
    let mut sum = Tally::default();
    println!(
        "\n{:<14} {:>9} {:>7} {:>7} {:>8}",
        "step", "time", "passed", "failed", "skipped"
    );
    for row in rows {
        let tally = &row.tally;
        println!(
            "{:<14} {:>7.1} s {:>7} {:>7} {:>8}",
            row.name,
            row.took.as_secs_f64(),
            tally.passed,
            tally.failed,
            tally.skipped.len()
        );
        sum.add(tally.clone());
    }
    println!("{:<14} {:>7.1} s", "all", took.as_secs_f64());

    if !sum.skipped.is_empty() {
        println!("\nSkipped on this machine:");
        for row in rows {
            for skip in &row.tally.skipped {
                println!("  {}: {}: {}", row.name, skip.what, skip.reason);
            }
        }
    }
    if !sum.unsteady.is_empty() {
        println!(
            "\nPassed only when run again alone (a busy machine upset them, or a fault that comes and goes):"
        );
        for row in rows.iter().filter(|row| !row.tally.unsteady.is_empty()) {
            println!(
                "  {}: {} (log: {})",
                row.name,
                row.tally.unsteady.join(", "),
                row.log.display()
            );
        }
    }
    if sum.failed > 0 {
        println!("\nFailed:");
        for row in rows.iter().filter(|row| row.tally.failed > 0) {
            println!(
                "  {}: {} (log: {})",
                row.name,
                row.tally.failures.join(", "),
                row.log.display()
            );
        }
    }
    sum
}

/// The last lines of some output, for a person who has nothing else. Shown indented.
#[derive(Default)]
pub(crate) struct Tail(VecDeque<String>);

impl Tail {
    /// The end of a log.
    pub(crate) fn of(log: &Path) -> Self {
        let mut tail = Self::default();
        String::from_utf8_lossy(&fs::read(log).unwrap_or_default())
            .lines()
            .for_each(|line| tail.push(line));
        tail
    }

    /// Takes the next line.
    pub(crate) fn push(&mut self, line: &str) {
        if self.0.len() == TAIL_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.to_owned());
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|line| writeln!(f, "    | {line}"))
    }
}

fn shorten(line: &str, chars: usize) -> String {
    match line.char_indices().nth(chars) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}
