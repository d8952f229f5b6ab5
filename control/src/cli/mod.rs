//! The command line: arguments in, exit codes out. What it prints for people is made in [`crate::report`].
//! This file holds the arguments and the exit codes; each command with more than a call has a file of its own.

mod daemon;
mod doctor;
#[cfg(windows)]
mod driver;
#[cfg(fuzzing)]
pub use doctor::fuzz_graph;
mod failure;
mod install;
mod make_default;
mod output;
mod queries;
mod stats;
#[cfg(target_os = "linux")]
mod supervise;
mod top;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::daemon::Want;
#[cfg(target_os = "linux")]
use crate::demo::{self, DemoOptions};
use failure::Failure;

/// A virtual microphone that mutes with exact zeros, and says who pulled.
#[derive(Debug, Parser)]
#[command(name = "truemute", version, arg_required_else_help = true, after_help = format!("{FIRST_USE}\n\n{EXIT_CODES}"))]
struct Cli {
    /// Socket of the daemon [default: $XDG_RUNTIME_DIR/truemute/api.sock]
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        env = "TRUEMUTE_SOCKET",
        hide_env_values = true,
        value_name = "PATH"
    )]
    socket: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Global options")]
    color: colorchoice_clap::Color,
    #[command(subcommand)]
    command: Command,
}

#[cfg(target_os = "linux")]
const FIRST_USE: &str = "First use: `truemute demo` shows what it does. `truemute install --restart` sets it up, muted; \
    `truemute unmute` lets sound through.";
#[cfg(not(target_os = "linux"))]
const FIRST_USE: &str =
    "First use: `truemute install` sets it up, muted; `truemute unmute` lets sound through.";
const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no daemon. Errors go to stderr.";

/// In the order in which help lists them: everybody's, then those for a closer look, then setting up, then the daemon.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show whether it is live or muted, and why; the real mic, the virtual mic, and how many clients there are
    Status(Format),
    /// Mute everything, or one app; returns when it has taken effect
    Mute(MuteArgs),
    /// Unmute everything, or one app; returns when it has taken effect
    Unmute(UnmuteArgs),
    /// Mute if live, unmute if muted
    Toggle(Format),
    /// Show clients and their pulls live on this terminal; m toggles
    Top,
    /// List who is connected now
    Clients(Format),
    /// Show pulls and frames per client, while live and while muted
    Stats(StatsArgs),
    /// Stream the state and the counts, one JSON object a line
    Watch,
    /// Write every pull and every state change to a file, one JSON object a line, until Ctrl-C
    Trace {
        /// File to write; - for standard output
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Mute, and refuse every unmute, also after a restart, until `unlock`
    Lock(Format),
    /// End `lock`; polkit asks you for your password
    Unlock(Format),
    #[cfg(target_os = "linux")]
    /// Show and prove it all on a private audio server, without touching your sound; takes less than 20 seconds
    Demo(DemoArgs),
    /// Install for this user: the daemon at login, silence while it is away. Doing it again brings it up to date
    Install(InstallArgs),
    /// Undo what install did, also after a crash
    Uninstall(InstallArgs),
    #[cfg(windows)]
    /// Install or remove the driver and its service; needs an administrator
    #[command(subcommand)]
    Driver(driver::DriverCommand),
    /// Check the installation; say what is wrong and what to do
    Doctor(Format),
    /// Make TrueMute Microphone the default input, which apps take unless they are told another one
    Use,
    /// Run the daemon in the foreground; `install` has it started at each login
    Daemon {
        /// Configuration file [default: $XDG_CONFIG_HOME/truemute/config.toml, if it exists]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    #[cfg(target_os = "linux")]
    /// Run the daemon, and start it again when it ends or hangs; for systems without systemd
    Supervise {
        /// Configuration file [default: $XDG_CONFIG_HOME/truemute/config.toml, if it exists]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, Args)]
struct Format {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct MuteArgs {
    /// Only this app, with all its streams: its name, the path of its executable, or the number of a client (see `clients
    /// --json`). It stays muted, also when it comes back, until `unmute --client`
    #[arg(long, value_name = "APP|ID")]
    client: Option<String>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
struct UnmuteArgs {
    /// Only this app, which was muted by `mute --client`: its name, the path of its executable, or the number of a client
    #[arg(long, value_name = "APP|ID")]
    client: Option<String>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
struct StatsArgs {
    /// Only what happened since: a time (RFC 3339), or how long ago (90s, 15m, 2h, 7d). Works without a daemon too
    /// [default: the daemon's start]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    format: Format,
    /// Print CSV; docs/history.md says what the columns mean
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

#[derive(Clone, Copy, Debug, Args)]
struct InstallArgs {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Start PipeWire, WirePlumber and the daemon again afterwards; all sound stops for a moment
    #[arg(long)]
    restart: bool,
}

impl From<InstallArgs> for crate::install::Options {
    fn from(InstallArgs { dry_run, restart }: InstallArgs) -> Self {
        Self { dry_run, restart }
    }
}

#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
struct DemoArgs {
    /// Keep the recordings in this directory, as WAV files
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// The arguments, for completions and man pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program with the arguments of this process. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no daemon.
pub fn main() -> ExitCode {
    // Wrong usage ends here, with code 2.
    let cli = Cli::parse();
    cli.color.write_global();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    // Asked for only where it is needed: the demo runs without a runtime directory.
    let socket = || cli.socket.map_or_else(crate::api::default_path, Ok);
    // Who would be the daemon has failed; that none answers is no news to it.
    let unserved = |error: crate::api::SocketError| Failure::new(error.to_string());
    match cli.command {
        Command::Daemon { config } => daemon::run(config, socket().map_err(unserved)?),
        #[cfg(target_os = "linux")]
        Command::Supervise { config } => supervise::run(config, socket().map_err(unserved)?),
        Command::Status(format) => queries::status(&socket()?, format),
        Command::Lock(format) => queries::lock(&socket()?, true, format),
        Command::Unlock(format) => {
            #[cfg(target_os = "linux")]
            let _asks = crate::system::TerminalAgent::start();
            queries::lock(&socket()?, false, format)
        }
        Command::Mute(args) => match args.client {
            Some(client) => queries::switch_app(&socket()?, client, true, args.format),
            None => queries::switch(&socket()?, Want::Mute, args.format),
        },
        Command::Unmute(args) => match args.client {
            Some(client) => queries::switch_app(&socket()?, client, false, args.format),
            None => queries::switch(&socket()?, Want::Unmute, args.format),
        },
        Command::Toggle(format) => queries::switch(&socket()?, Want::Toggle, format),
        Command::Clients(format) => queries::clients(&socket()?, format),
        Command::Stats(args) => stats::run(socket(), args),
        Command::Watch => queries::watch(&socket()?),
        Command::Trace { out, force } => trace::run(&socket()?, out, force),
        #[cfg(target_os = "linux")]
        Command::Demo(DemoArgs { keep }) => Ok(demo::run(&DemoOptions { keep })?),
        Command::Top => top::run(&socket()?),
        Command::Use => make_default::run(),
        Command::Install(args) => install::install(args.into()),
        Command::Uninstall(args) => install::uninstall(args.into()),
        #[cfg(windows)]
        Command::Driver(command) => driver::run(command),
        Command::Doctor(format) => doctor::run(socket(), format.json),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::Parser as _;

    #[test]
    fn the_arguments_are_consistent() {
        super::command().debug_assert();
    }

    /// Whoever follows the scripts of a first day has one try.
    #[test]
    fn the_commands_of_the_first_days_exist() {
        for (name, script, call) in [
            (
                "first-day.sh",
                include_str!("../../../driver-macos/packaging/first-day.sh"),
                "\"$program\" ",
            ),
            (
                "first-day.ps1",
                include_str!("../../../driver-windows/packaging/first-day.ps1"),
                "& '$program' ",
            ),
        ] {
            let mut calls = 0;
            for line in script.lines() {
                let Some((_, arguments)) = line.split_once(call) else {
                    continue;
                };
                let arguments = arguments.split(['"', '|', '>', ')']).next().unwrap_or("");
                let words = arguments.split_whitespace();
                calls += 1;
                // Only where there is a driver to install.
                if cfg!(not(windows)) && arguments.starts_with("driver ") {
                    continue;
                }
                if let Err(error) = Cli::try_parse_from(["truemute"].into_iter().chain(words)) {
                    panic!("{name}: {line}\n{error}");
                }
            }
            assert!(calls > 10, "{name}: {calls}");
        }
    }
}
