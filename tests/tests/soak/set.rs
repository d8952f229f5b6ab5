//! What the soak plays with: the server, the mic, the daemon and the clients, each of which can go and come back.

use rustix::process::Signal as Kill;
use truemute::demo::RunningDaemon;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{
    Clock, MicOptions, PrivateServer, ServerOptions, Service, SimulatedMic,
};
use truemute_tests::recorder::{Connections, Recorder, RecorderOptions, Recorders};
use truemute_tests::servers::{Version, installed_parts};
use truemute_tests::tape::monotonic_ns;
use truemute_tests::truemute as program;

pub(crate) const QUANTUM: u32 = 512;

/// The parts end in this order.
pub(crate) struct Set {
    pub(crate) recorders: Recorders,
    pub(crate) daemon: RunningDaemon,
    mic: Option<SimulatedMic>,
    pub(crate) server: PrivateServer,
    /// Clients that came so far.
    clients: u64,
}

/// A client, and what it has lived through.
pub(crate) struct Guest {
    pub(crate) client: Recorder,
    /// It lives since, monotonic nanoseconds.
    pub(crate) since_ns: u64,
}

impl Set {
    /// Sets up; nothing if this version cannot be had here.
    pub(crate) fn new(version: Version) -> Option<Self> {
        let options = version.options(ServerOptions {
            clock: Some(Clock::fixed(QUANTUM)),
            dropins: installed_parts(version),
            ..ServerOptions::default()
        })?;
        let server = PrivateServer::start(options).expect("a server");
        let mic = SimulatedMic::start(&server, MicOptions::default()).expect("a mic");
        let daemon = program::start(&server, "");
        let recorders = Recorders::start(&server, Connections::Own).expect("a thread");
        Some(Self {
            recorders,
            daemon,
            mic: Some(mic),
            server,
            clients: 0,
        })
    }

    /// Another client comes, which names the virtual mic or takes the default source.
    pub(crate) fn add(&mut self, names_it: bool) -> Guest {
        self.clients += 1;
        let options = RecorderOptions {
            name: format!("guest-{}", self.clients),
            target: names_it.then(|| VIRTUAL_MIC.to_owned()),
            cycles: 200_000,
            ..RecorderOptions::default()
        };
        let since_ns = monotonic_ns();
        let client = self.recorders.add(options);
        Guest {
            client: client.unwrap_or_else(|error| panic!("{error}\n{}", self.logs())),
            since_ns,
        }
    }

    /// Unplugs the mic.
    pub(crate) fn unplug(&mut self) {
        self.mic = None;
    }

    /// Plugs the mic in.
    pub(crate) fn plug_in(&mut self) {
        let mic = SimulatedMic::start(&self.server, MicOptions::default());
        self.mic = Some(mic.unwrap_or_else(|error| panic!("{error}\n{}", self.logs())));
    }

    /// Kills a program of the server.
    pub(crate) fn kill(&mut self, service: Service) {
        self.server.end(service, Kill::KILL).expect("it ends");
    }

    /// Starts what was killed.
    pub(crate) fn revive(&mut self) {
        let without_mic = self.server.ended(Service::Pipewire).is_some();
        let revived = self.server.revive();
        revived.unwrap_or_else(|error| panic!("{error}\n{}", self.logs()));
        if without_mic {
            self.unplug();
            self.plug_in();
        }
    }

    /// Starts the daemon again after it was killed.
    pub(crate) fn start_daemon(&mut self) {
        self.daemon = program::start(&self.server, "");
    }

    /// Resident memory of the daemon, in bytes (proc(5), status: VmRSS, in kB).
    pub(crate) fn memory(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.id()));
        let text = text.expect("the daemon runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a size") * 1024
    }

    pub(crate) fn logs(&self) -> String {
        format!("{}\n{}", self.daemon.log(), self.server.log())
    }
}
