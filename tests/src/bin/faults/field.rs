//! Where a fault is inflicted: a private server, a simulated mic that plays the ramp, the daemon, and clients of every
//! kind. Everything can be broken and mended.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use truemute::demo::RunningDaemon;
use truemute::protocol::{ClientStats, GateState};
use truemute_core::observed::ClientState;
use truemute_pipewire::rehearsal::{Clock, MicOptions, PrivateServer, ServerOptions, SimulatedMic};
use truemute_tests::listening::{Kind, Listener};
use truemute_tests::recorder::{Connections, Recorders, wait_until};
use truemute_tests::servers::{Version, installed_parts};
use truemute_tests::tape::monotonic_ns;
use truemute_tests::truemute as program;

use crate::Result;

/// How long anything may take that has to happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// Frames a cycle: what desktops have.
const QUANTUM: u32 = 1024;
/// A client for which zeros came so long, in nanoseconds, has no sound in its buffers any more.
const SILENT_FOR: u64 = 500_000_000;
/// Pieces of sound that every client has got before anything is broken.
const SETTLED: usize = 10;

/// The parts end in this order.
pub(crate) struct Field {
    pub(crate) listeners: Vec<Listener>,
    /// Makes more native clients.
    pub(crate) recorders: Arc<Recorders>,
    /// The daemon, under its supervisor.
    pub(crate) daemon: RunningDaemon,
    daemon_id: u32,
    pub(crate) mic: Option<SimulatedMic>,
    pub(crate) server: PrivateServer,
    /// When the fault was there, where inflicting it takes a while: until then sound may be heard that was not there before.
    pub(crate) struck_ns: Option<u64>,
    /// When what was broken runs again; nothing while it does not.
    pub(crate) mended_ns: Option<u64>,
}

impl Field {
    /// Sets up, with every client served by the muted virtual mic; nothing if this version cannot be had here.
    pub(crate) fn set(version: Version, kinds: &[Kind]) -> Result<Option<Self>> {
        let truemute = program::executable();
        if !truemute.is_file() {
            return Err(
                "truemute is not built beside this program. Use: cargo xtask faults".into(),
            );
        }
        let options = version.options(ServerOptions {
            clock: Some(Clock::fixed(QUANTUM)),
            open_files: Some(20_000),
            dropins: installed_parts(version),
            ..ServerOptions::default()
        });
        let Some(options) = options else {
            return Ok(None);
        };
        let server = PrivateServer::start(options)?;
        let mic = SimulatedMic::start(&server, MicOptions::default())?;
        let daemon = RunningDaemon::start_supervised(truemute, &server, "", LIMIT)?;
        let recorders = Arc::new(Recorders::start(&server, Connections::Own)?);
        let listeners = kinds
            .iter()
            .map(|kind| Listener::start(*kind, &server, &recorders))
            .collect();
        let mut field = Self {
            listeners,
            recorders,
            daemon,
            daemon_id: 0,
            mic: Some(mic),
            server,
            struck_ns: None,
            mended_ns: None,
        };
        field.wait_for_daemon()?;
        field.wait_until_served()?;
        Ok(Some(field))
    }

    fn wait_until_served(&self) -> Result<()> {
        for listener in &self.listeners {
            let got = wait_until(2 * LIMIT, || listener.log().len() >= SETTLED);
            let listed = wait_until(LIMIT, || self.client(listener.kind()).is_some());
            if !got || !listed {
                let kind = listener.kind().name();
                let pieces = listener.log().len();
                let clients = self.daemon.clients();
                return Err(format!("the client \"{kind}\" got {pieces} pieces and is listed: {listed} in {clients:?}\n{}", self.logs()).into());
            }
        }
        Ok(())
    }

    /// Waits until every client has used up what it still had of the sound in its buffers: that is no fault.
    pub(crate) fn wait_until_silent(&self) -> Result<()> {
        for listener in &self.listeners {
            let silent = || {
                let now = monotonic_ns();
                let log = listener.log();
                log.nonzero(now - SILENT_FOR, now) == 0
                    && log.longest_gap(now - SILENT_FOR, now) < SILENT_FOR
            };
            if !wait_until(LIMIT, silent) {
                let kind = listener.kind().name();
                return Err(format!("the client \"{kind}\" hears sound after the mute").into());
            }
        }
        Ok(())
    }

    /// The daemon's own figures of the running client of this kind, if it answers and has one.
    pub(crate) fn client(&self, kind: Kind) -> Option<ClientStats> {
        let clients = self.daemon.clients().ok()?.clients;
        clients.into_iter().find(|client| {
            let puller = client.who.puller.as_ref().map_or("", |it| &it.name);
            let names = [&client.who.app, &client.who.stream, puller].map(|it| it.to_lowercase());
            let named = names.iter().any(|it| it.contains(kind.listed_as()));
            client.state == ClientState::Running && named
        })
    }

    /// PipeWire's version as the daemon tells it.
    pub(crate) fn server_name(&self) -> String {
        let status = self.daemon.status();
        status.map_or_else(|error| error.to_string(), |status| status.backend)
    }

    /// Unmutes, again if a busy machine lets the lease run out before sound comes; waits until each client hears sound.
    /// Names those that do not.
    pub(crate) fn unmute(&self) -> Result<Vec<Kind>> {
        let deadline = Instant::now() + LIMIT / 2;
        let from = monotonic_ns();
        let deaf = || {
            let deaf = self.listeners.iter().filter(|listener| {
                let log = listener.log();
                log.nonzero(from, u64::MAX) == 0
            });
            deaf.map(Listener::kind).collect::<Vec<_>>()
        };
        loop {
            if self.daemon.status()?.gate == GateState::Muted {
                self.daemon.unmute()?;
            }
            if wait_until(Duration::from_millis(200), || deaf().is_empty())
                || Instant::now() >= deadline
            {
                return Ok(deaf());
            }
        }
    }

    /// Process id of the daemon, which is a child of its supervisor. As it was when it last answered.
    pub(crate) fn daemon_id(&self) -> u32 {
        self.daemon_id
    }

    /// Sends a signal to the daemon alone; gives its process id.
    pub(crate) fn signal_daemon(&self, signal: Signal) -> Result<u32> {
        let process =
            Pid::from_raw(self.daemon_id.cast_signed()).ok_or("no process has the id 0")?;
        kill_process(process, signal)?;
        Ok(self.daemon_id)
    }

    /// Ends the daemon and its supervisor with the same signal.
    pub(crate) fn end_daemon(&mut self, signal: Signal) -> Result<()> {
        self.daemon.stop(signal)?;
        let process =
            Pid::from_raw(self.daemon_id.cast_signed()).ok_or("no process has the id 0")?;
        if signal == Signal::KILL {
            // Its supervisor's end alone would let it end in order, and it may have done so already.
            let _ = kill_process(process, signal);
        }
        match wait_until(LIMIT, || test_kill_process(process).is_err()) {
            true => Ok(()),
            false => Err("the daemon outlives its supervisor".into()),
        }
    }

    /// Waits until the supervisor has replaced the daemon that had this process id; that is part of the recovery.
    pub(crate) fn wait_for_another_daemon(&mut self, former: u32) -> Result<()> {
        let another = || {
            let status = self.daemon.status();
            status.is_ok_and(|status| status.connected && status.daemon_pid != former)
        };
        if !wait_until(LIMIT, another) {
            return Err(format!("no other daemon comes\n{}", self.logs()).into());
        }
        self.wait_for_daemon()
    }

    /// Starts daemon and supervisor again and waits until the daemon answers.
    pub(crate) fn start_daemon(&mut self) -> Result<()> {
        self.mended();
        let truemute = program::executable();
        self.daemon = RunningDaemon::start_supervised(truemute, &self.server, "", LIMIT)?;
        self.wait_for_daemon()
    }

    /// Starts a daemon with a configuration that it will refuse; says whether it did.
    pub(crate) fn start_refused_daemon(&mut self, config: &str) -> Result<bool> {
        self.daemon = RunningDaemon::launch(program::executable(), &self.server, config)?;
        Ok(wait_until(LIMIT, || self.daemon.ended().is_some()))
    }

    /// Waits until the daemon answers and is connected.
    pub(crate) fn wait_for_daemon(&mut self) -> Result<()> {
        let mut id = None;
        wait_until(LIMIT, || {
            let status = self.daemon.status().ok().filter(|status| status.connected);
            id = status.map(|status| status.daemon_pid);
            id.is_some()
        });
        self.daemon_id =
            id.ok_or_else(|| format!("the daemon does not come back\n{}", self.logs()))?;
        Ok(())
    }

    /// Plugs the mic in again.
    pub(crate) fn plug_in(&mut self) -> Result<()> {
        self.mic = None;
        self.mic = Some(SimulatedMic::start(&self.server, MicOptions::default())?);
        Ok(())
    }

    /// The fault is there from now on.
    pub(crate) fn struck(&mut self) {
        self.struck_ns = Some(monotonic_ns());
    }

    /// What was broken runs again from now on.
    pub(crate) fn mended(&mut self) {
        self.mended_ns = Some(monotonic_ns());
    }

    pub(crate) fn logs(&self) -> String {
        format!("{}\n{}", self.daemon.log(), self.server.log())
    }
}

/// Lets the fault last: what is measured is what happens meanwhile.
pub(crate) fn outage(time: Duration) {
    thread::sleep(time);
}
