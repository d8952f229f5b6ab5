//! The steps of `cargo xtask test`: what each is called, needs and does. What a step does lies here when it is a few
//! cargo calls; larger ones have their own files.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use crate::e2e::{self, Group};
use crate::other_debian::{self, Release};
use crate::packages::Part;
use crate::process::Ended;
use crate::report::{Progress, Tail};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{asan, deny, fuzz, macos, nt, windows};

/// The steps, in the order in which they run: what fails soonest and says most comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Formatting is what rustfmt makes of it
    Fmt,
    /// Clippy has nothing to say
    Clippy,
    /// Licences, sources and known vulnerabilities of dependencies
    Deny,
    /// Tests beside the code, of all crates
    Unit,
    /// The documentation builds without warnings, and its examples run
    Docs,
    /// Models of the lock-free structures, in every interleaving within a bound
    Loom,
    /// End to end on private audio servers with real clients
    E2e,
    /// The same as an ordinary user, when root runs this
    E2eUser,
    /// The same on the PipeWire of Debian's coming release, where it can be had; only when asked for
    E2eForky,
    /// The driver for Windows, in a host that shows it a kernel
    Nt,
    /// Real browsers record from the virtual microphone
    Browsers,
    /// Random toggles, clients and faults for three minutes (SOAK_SECONDS)
    Soak,
    /// Some end-to-end tests with everything of ours under AddressSanitizer
    Asan,
    /// All of them so; only when asked for
    AsanAll,
    /// The driver for macOS: built here, and read as it would be shipped; and whether the program compiles
    Macos,
    /// Both bundles for macOS, linked, read and signed; only when asked for
    MacosProgram,
    /// The driver for Windows and its INF: built here, and read as they would be shipped
    Windows,
    /// The program for Windows, likewise; only when asked for
    WindowsProgram,
    /// The driver for Windows linked against what stands in for a WDK, its layouts held against those headers; only when asked for
    Wdk,
    /// The driver and the program under Wine, in a Debian 13 of its own; only when asked for
    Wine,
    /// A minute of fuzzing for each parser of what others wrote
    Fuzz,
}

/// What a running step works with.
pub(crate) struct Run<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) progress: &'a mut Progress,
    /// Where the output of its commands goes.
    pub(crate) log: &'a Path,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Step {
    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it runs when no step is chosen.
    pub(crate) fn is_usual(self) -> bool {
        !matches!(
            self,
            Self::AsanAll
                | Self::E2eForky
                | Self::MacosProgram
                | Self::WindowsProgram
                | Self::Wdk
                | Self::Wine
        )
    }

    /// What it does, in a few words.
    pub(crate) fn about(self) -> String {
        let help = self
            .to_possible_value()
            .and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }

    /// What must be installed for it.
    pub(crate) fn parts(self) -> &'static [Part] {
        match self {
            Self::Fmt | Self::Deny => &[],
            Self::Clippy | Self::Docs | Self::Loom => &[Part::Build],
            Self::Macos | Self::MacosProgram => &[Part::Cross, Part::Macos],
            Self::Windows => &[Part::Cross],
            Self::WindowsProgram => &[Part::Cross, Part::Windows],
            Self::Wine => &[Part::Build, Part::Test, Part::Cross, Part::Windows],
            Self::Nt | Self::Wdk => &[Part::Build, Part::Cross, Part::Windows],
            Self::Fuzz => &[Part::Build, Part::Test],
            Self::Unit
            | Self::E2e
            | Self::E2eUser
            | Self::E2eForky
            | Self::Browsers
            | Self::Soak
            | Self::Asan
            | Self::AsanAll => &[Part::Build, Part::Run, Part::Test],
        }
    }

    pub(crate) fn run(self, run: &mut Run<'_>) -> Result<Tally> {
        match self {
            Self::Fmt => fmt(run),
            Self::Clippy => run.check(
                "clippy --workspace --all-targets --locked -- -D warnings",
                20 * MINUTE,
            ),
            Self::Deny => deny::check(run),
            Self::Unit => unit(run),
            Self::Docs => docs(run),
            Self::Loom => loom(run),
            Self::E2e => e2e::check(run, Group::Common),
            Self::E2eUser => e2e::check_as_ordinary_user(run),
            Self::E2eForky => e2e::check_on_forky(run),
            Self::Nt => nt::check(run),
            Self::Browsers => e2e::check(run, Group::Browsers),
            Self::Soak => e2e::check(run, Group::Soak),
            Self::Asan => asan::check(run, false),
            Self::AsanAll => asan::check(run, true),
            Self::Macos => macos::test(run),
            Self::MacosProgram => macos::test_program(run),
            Self::Windows => windows::test(run),
            Self::WindowsProgram => windows::test_program(run),
            Self::Wdk => windows::test_wdk(run),
            Self::Wine => windows::wine(run),
            Self::Fuzz => fuzz::check(run),
        }
    }
}

fn fmt(run: &mut Run<'_>) -> Result<Tally> {
    let mut tally = run.check("fmt --all --check", 2 * MINUTE)?;
    tally.add(run.check(
        "fmt --all --check --manifest-path fuzz/Cargo.toml",
        2 * MINUTE,
    )?);
    tally.add(run.check(
        "fmt --check --manifest-path driver-windows/wdk/Cargo.toml",
        2 * MINUTE,
    )?);
    Ok(tally)
}

fn unit(run: &mut Run<'_>) -> Result<Tally> {
    let command = run.workspace.cargo(
        "test --workspace --exclude truemute-tests --lib --bins --tests --locked --no-fail-fast -- --show-output",
    );
    let mut tally = run.tests(
        other_debian::required(run.workspace, Release::Trixie, command),
        25 * MINUTE,
    )?;
    if let Some(names) = tally.to_try_again() {
        run.progress
            .say(&format!("  once more, alone: {}", names.join(", ")));
        let mut command = run.workspace.cargo(
            "test --workspace --exclude truemute-tests --lib --bins --tests --locked --no-fail-fast -- --show-output --exact --test-threads=1",
        );
        command.args(names);
        let second = run.tests(
            other_debian::required(run.workspace, Release::Trixie, command),
            25 * MINUTE,
        )?;
        tally.second_try(&second);
    }
    Ok(tally)
}

fn docs(run: &mut Run<'_>) -> Result<Tally> {
    let mut command = run
        .workspace
        .cargo("doc --workspace --no-deps --document-private-items --locked");
    command.env("RUSTDOCFLAGS", "-D warnings");
    let ended = run.command(command, 15 * MINUTE, |_| {})?;
    let mut tally = Tally::of(ended, "cargo doc");
    let command = run
        .workspace
        .cargo("test --workspace --doc --locked --no-fail-fast -- --show-output");
    tally.add(run.tests(command, 15 * MINUTE)?);
    Ok(tally)
}

fn loom(run: &mut Run<'_>) -> Result<Tally> {
    let mut command = run.workspace.cargo(
        "test --package truemute-core --package truemute-hal --release --test loom --locked -- --show-output",
    );
    // Other flags rebuild everything: a folder of its own keeps the other steps' work. Link-time optimisation would double
    // the time of the build (112 s measured) and save nothing.
    command
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", run.workspace.target.join("loom"))
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    run.tests(command, 15 * MINUTE)
}

impl Run<'_> {
    /// Runs a command of this step; if it fails, says the end of its output at once.
    pub(crate) fn command(
        &mut self,
        command: Command,
        limit: Duration,
        mut on_line: impl FnMut(&str),
    ) -> Result<Ended> {
        let mut tail = Tail::default();
        let ended = self.progress.run(command, self.log, limit, |line| {
            tail.push(line);
            on_line(line);
        })?;
        if !ended.ok() && ended != Ended::Interrupted {
            self.progress.say(&format!(
                "  {ended}; the end of the output (all of it: {}):\n{tail}",
                self.log.display()
            ));
        }
        Ok(ended)
    }

    /// One check: it passes if this call of cargo does.
    fn check(&mut self, args: &str, limit: Duration) -> Result<Tally> {
        let ended = self.command(self.workspace.cargo(args), limit, |_| {})?;
        Ok(Tally::of(ended, &format!("cargo {args}")))
    }

    /// Rust's test runner, with `--show-output`: its own counts are taken.
    pub(crate) fn tests(&mut self, command: Command, limit: Duration) -> Result<Tally> {
        let mut tally = Tally::default();
        let ended = self.command(command, limit, |line| tally.read(line))?;
        if !ended.ok() && tally.failed == 0 {
            // It did not compile, crashed or hung: no test says "failed", but one did.
            tally.add(Tally::fail(format!("the test run itself: {ended}")));
        } else if tally.results == 0 {
            tally.add(Tally::fail("no test program ran"));
        }
        Ok(tally)
    }
}
