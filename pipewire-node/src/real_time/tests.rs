//! The whole backend in this process on a private server, so that its real-time thread runs under [`super::ALLOCATOR`].

use std::{
    path::Path,
    time::{Duration, Instant},
};

use truemute_core::observed::{Applied, Client, ClientState, Counts};

use crate::{
    Options, VIRTUAL_MIC, VirtualMic,
    rehearsal::{
        App, AppRecording, Format, MicOptions, PrivateServer, ServerOptions, SimulatedMic, Wanted,
    },
};

/// Pulls in one state before the next.
const PULLS: u64 = 100;
/// How long each step may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn no_callback_allocates_live_or_muted_or_while_clients_come_and_go() {
    let server = PrivateServer::start(ServerOptions::default()).unwrap();
    let _mic = SimulatedMic::start(&server, MicOptions::default()).unwrap();
    let options = Options {
        remote: Some(server.socket().display().to_string()),
        ..Options::default()
    };
    let backend = VirtualMic::start(options, |_| {}).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let first = record(&server, "first", directory.path());

    let before = until(&backend, |counts| counts.muted.pulls >= PULLS);
    unmute(&backend);
    until(&backend, |counts| {
        counts.live.pulls >= before.live.pulls + PULLS
    });
    // A second client, and the record of single pulls, come and go while sound passes.
    backend.set_tracing(true);
    let second = record(&server, "second", directory.path());
    wait(&backend, |clients| {
        clients.len() == 2
            && clients
                .iter()
                .all(|client| client.counts.live.pulls >= PULLS)
    });
    drop(second);
    wait(&backend, |clients| clients.len() == 1);
    backend.set_tracing(false);

    backend.mute().unwrap();
    let muted = counts(&backend);
    until(&backend, |counts| {
        counts.muted.pulls >= muted.muted.pulls + PULLS
    });
    unmute(&backend);
    until(&backend, |counts| {
        counts.live.pulls >= muted.live.pulls + PULLS
    });
    // And the last one, which stops the nodes.
    drop(first);
    wait(&backend, |clients| clients.is_empty());
}

fn record(server: &PrivateServer, name: &str, directory: &Path) -> AppRecording {
    let wanted = Wanted {
        name: name.to_owned(),
        device: Some(VIRTUAL_MIC.to_owned()),
        channels: 1,
        rate: 48_000,
        format: Format::F32,
    };
    App::PwRecord.record(server, &wanted, directory).unwrap()
}

/// In a cycle: an unmute while nothing runs would show nothing.
fn unmute(backend: &VirtualMic) {
    let applied = backend.unmute().unwrap();
    assert!(matches!(applied, Applied::Cycle { .. }), "{applied:?}");
}

fn counts(backend: &VirtualMic) -> Counts {
    wait(backend, |clients| clients.len() == 1).remove(0).counts
}

/// Waits until the only client has these counts.
fn until(backend: &VirtualMic, reached: impl Fn(&Counts) -> bool) -> Counts {
    wait(
        backend,
        |clients| matches!(clients, [only] if reached(&only.counts)),
    )
    .remove(0)
    .counts
}

/// Waits until the clients that are connected are as wanted. The gate stays as open as it is meanwhile.
fn wait(backend: &VirtualMic, wanted: impl Fn(&[Client]) -> bool) -> Vec<Client> {
    let deadline = Instant::now() + LIMIT;
    loop {
        backend.renew_lease(Instant::now());
        let snapshot = backend.snapshot().unwrap();
        let gone: Vec<u64> = of(&snapshot.clients, true)
            .map(|client| client.id)
            .collect();
        backend.forget_gone(&gone, &[]);
        let here: Vec<Client> = of(&snapshot.clients, false).cloned().collect();
        if wanted(&here) {
            return here;
        }
        assert!(Instant::now() < deadline, "{here:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn of(clients: &[Client], gone: bool) -> impl Iterator<Item = &Client> {
    clients
        .iter()
        .filter(move |client| (client.state == ClientState::Gone) == gone)
}
