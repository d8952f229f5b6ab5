//! The `fuzz` step: builds the programs in fuzz/ with coverage and AddressSanitizer, and lets each look for a crash for
//! a minute (FUZZ_SECONDS). No nightly compiler and no cargo-fuzz: the flags are the ones that cargo-fuzz gives.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{self, Ended};
use crate::report::Tail;
use crate::step::Run;
use crate::tally::Tally;
use crate::workspace::Workspace;

/// What cargo-fuzz gives, in the words of LLVM's sanitizer coverage
/// (<https://clang.llvm.org/docs/SanitizerCoverage.html>).
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
    -Ccodegen-units=1";
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);
const DEFAULT_SECONDS: u64 = 60;

/// The fuzz targets' sources and where their results go.
struct Fuzz<'a> {
    workspace: &'a Workspace,
    /// The machine's target triple: with `--target`, build scripts are spared the flags.
    host: String,
    seconds: u64,
}

/// Builds all targets, runs them side by side on all cores, one check each.
pub(crate) fn check(run: &mut Run<'_>) -> Result<Tally> {
    let seconds = match std::env::var("FUZZ_SECONDS") {
        Ok(text) => text
            .parse()
            .context("FUZZ_SECONDS is not a whole number of seconds")?,
        Err(_) => DEFAULT_SECONDS,
    };
    let fuzz = Fuzz {
        workspace: run.workspace,
        host: host()?,
        seconds,
    };
    let mut tally = Tally::default();
    let sanitizer = has_address_sanitizer(&fuzz.host)?;
    if !sanitizer {
        let reason = "this compiler does not bring its runtime, so only panics are found";
        tally.add(Tally::skip("AddressSanitizer", reason));
    }
    fuzz.build(run, sanitizer)?;
    for (name, ended) in fuzz.run_all(run)? {
        let what = format!(
            "{name} (inputs that crash it: {})",
            fuzz.crashes(&name).display()
        );
        tally.add(Tally::of(ended, &what));
        if !ended.ok() {
            run.progress
                .say(&format!("  {name}:\n{}", Tail::of(&fuzz.log(&name))));
        }
    }
    Ok(tally)
}

/// Gives fuzz/ the versions of the main workspace; cargo adds the few crates that only fuzz/ has.
pub(crate) fn lock(workspace: &Workspace) -> Result<()> {
    let [from, to] = ["Cargo.lock", "fuzz/Cargo.lock"].map(|file| workspace.root.join(file));
    fs::copy(from, to).context("cannot copy Cargo.lock for the fuzz targets")?;
    Ok(())
}

/// The machine's target triple.
pub(crate) fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host
        .context("rustc does not say what it runs on")?
        .to_owned())
}

/// Whether this compiler brings AddressSanitizer's runtime; rustup's does on x86_64 and aarch64 Linux.
pub(crate) fn has_address_sanitizer(host: &str) -> Result<bool> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", host])
        .output()?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok(fs::read_dir(folder).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"))
    }))
}

impl Fuzz<'_> {
    fn target_dir(&self) -> PathBuf {
        self.workspace.target.join("fuzz")
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(self.workspace.root.join("fuzz/src/bin"))?
            .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    fn build(&self, run: &mut Run<'_>, sanitizer: bool) -> Result<()> {
        lock(self.workspace)?;
        let mut flags = COVERAGE.to_owned();
        let mut command = self
            .workspace
            .cargo("build --release --manifest-path fuzz/Cargo.toml --target");
        command
            .arg(&self.host)
            .env("CARGO_TARGET_DIR", self.target_dir());
        if sanitizer {
            // The sanitizer's flag counts as unstable; this variable is how a stable compiler is made to take it. It also
            // lets libFuzzer see what strings are compared with.
            flags.push_str(" -Zsanitizer=address");
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command.env("RUSTFLAGS", flags);
        let ended = run.command(command, BUILD_LIMIT, |_| {})?;
        if !ended.ok() {
            bail!("cannot build the fuzz targets ({ended})");
        }
        Ok(())
    }

    /// Runs as many targets at a time as there are cores; says how each ended.
    fn run_all(&self, run: &mut Run<'_>) -> Result<Vec<(String, Ended)>> {
        let queue = Mutex::new(VecDeque::from(self.names()?));
        let next = || queue.lock().ok().and_then(|mut queue| queue.pop_front());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (sender, lines) = mpsc::channel();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..cores)
                .map(|_| {
                    let sender = sender.clone();
                    scope.spawn(move || {
                        std::iter::from_fn(next)
                            .map(|name| self.run_one(&name, &sender).map(|ended| (name, ended)))
                            .collect::<Result<Vec<_>>>()
                    })
                })
                .collect();
            // The workers have the other ends: when the last is done, there is nothing to follow any more.
            drop(sender);
            run.progress.follow(&lines);
            let mut ended = Vec::new();
            for worker in workers {
                ended.extend(
                    worker
                        .join()
                        .unwrap_or_else(|_| bail!("a thread of xtask panicked"))?,
                );
            }
            Ok(ended)
        })
    }

    fn log(&self, name: &str) -> PathBuf {
        self.workspace.log(&format!("fuzz-{name}"))
    }

    fn crashes(&self, name: &str) -> PathBuf {
        self.target_dir().join("crashes").join(name)
    }

    fn run_one(&self, name: &str, lines: &mpsc::Sender<String>) -> Result<Ended> {
        let sources = self.workspace.root.join("fuzz");
        // What an earlier run found interesting is a better start than the seeds alone.
        let corpus = self.target_dir().join("corpus").join(name);
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(self.crashes(name))?;
        let log = self.workspace.new_log(&format!("fuzz-{name}"))?;
        let mut command = Command::new(
            self.target_dir()
                .join(&self.host)
                .join("release")
                .join(name),
        );
        command
            .arg(corpus)
            .arg(sources.join("seeds").join(name))
            .args([
                format!("-max_total_time={}", self.seconds),
                format!("-artifact_prefix={}/", self.crashes(name).display()),
                "-timeout=10".to_owned(),
                "-print_final_stats=1".to_owned(),
            ]);
        // The bundled SQLite is C and is built with the sanitizer of gcc, which the one of LLVM takes for a second definition
        // of the same variables. Nothing is fuzzed in it.
        command.env("ASAN_OPTIONS", "detect_odr_violation=0");
        let dictionary = sources.join("dictionaries").join(format!("{name}.dict"));
        if dictionary.exists() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        let limit = Duration::from_secs(self.seconds + 120);
        process::run(command, &log, limit, |line| {
            if let Some(line) = line {
                // Nobody listens any more only when the run is being ended.
                let _ = lines.send(format!("{name}: {line}"));
            }
        })
    }
}
