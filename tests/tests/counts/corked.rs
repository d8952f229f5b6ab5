//! A client that corks: whoever sees that it has, sees its last pull. Its count stands still from then on, and with nobody else
//! the real mic is let go of.

use std::ffi::CString;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::executor::block_on;
use pulseaudio::Client;
use pulseaudio::protocol::stream::BufferAttr;
use pulseaudio::protocol::{ChannelMap, RecordStreamParams, SampleFormat, SampleSpec};
use truemute::protocol::ClientStats;
use truemute_core::observed::{Api, ClientState};
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{Format, MicState};
use truemute_tests::counted::of_stream;
use truemute_tests::recorder::{RecorderOptions, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, each, on_both};

const QUANTUM: u32 = 256;
/// Frames in what the server sends at once.
const FRAGMENT: u64 = 960;
/// What pipewire-pulse wants to have and does not look into (module-protocol-pulse/pulse-server.c).
const COOKIE: [u8; 256] = [0; 256];
/// A third of a second.
const SOME: u64 = 16_000;
/// Frames that were pulled for the client and have not reached it: fragments on their way, and what the cork cut off.
const UNDER_WAY: u64 = 4 * FRAGMENT;

#[test]
fn a_corked_pulse_client_stands_still_and_the_mic_is_let_go() {
    let scene = |version| Scene {
        version,
        quantum: QUANTUM,
        ..Scene::default()
    };
    on_both(scene, |_, stage| {
        check(&stage);
    });
}

#[test]
fn whoever_sees_a_client_corked_sees_all_of_its_pulls() {
    each(&[Version::Installed, Version::Debian13], |version| {
        // Long, so that a pull which is counted in the next cycle comes to light late.
        let scene = Scene {
            version: *version,
            quantum: 2048,
            ..Scene::default()
        };
        let Some(stage) = Stage::set(&scene) else {
            return;
        };
        let [corker, other] = ["corker", "other"].map(|name| {
            stage.add(RecorderOptions {
                name: name.to_owned(),
                target: Some(VIRTUAL_MIC.to_owned()),
                ..RecorderOptions::default()
            })
        });
        let counted = |state| {
            let mut pulls = None;
            let so = wait_until(LIMIT, || {
                let stats = stage.daemon.stats().expect("the daemon answers");
                let client = of_stream(&stats, "corker").filter(|it| it.state == state);
                pulls = client.map(|it| it.live.pulls + it.muted.pulls);
                pulls.is_some()
            });
            assert!(so, "not {state:?}\n{}", stage.logs());
            pulls
        };
        for _ in 0..10 {
            stage.pulls(2, [&corker, &other]);
            counted(ClientState::Running);
            corker.set_active(false);
            let at_once = counted(ClientState::Corked);
            stage.pulls(2, [&other]);
            assert_eq!(at_once, counted(ClientState::Corked));
            corker.set_active(true);
        }
    });
}

fn check(stage: &Stage) {
    let bytes = Arc::new(AtomicU64::new(0));
    let frames = || bytes.load(Ordering::Relaxed) / 2;
    let socket = stage.server.socket().with_file_name("pulse/native");
    let socket = UnixStream::connect(socket).expect("pipewire-pulse listens");
    let app = Client::new_unix(c"corker", socket, Some(COOKIE)).expect("a connection");
    let params = RecordStreamParams {
        sample_spec: SampleSpec {
            format: SampleFormat::S16Le,
            channels: 1,
            sample_rate: 48_000,
        },
        channel_map: ChannelMap::mono(),
        source_name: Some(CString::new(VIRTUAL_MIC).expect("no zero in it")),
        buffer_attr: BufferAttr {
            fragment_size: FRAGMENT as u32 * 2,
            ..BufferAttr::default()
        },
        ..RecordStreamParams::default()
    };
    let sink = {
        let bytes = bytes.clone();
        move |sound: &[u8]| {
            bytes.fetch_add(sound.len() as u64, Ordering::Relaxed);
        }
    };
    let stream = block_on(app.create_record_stream(params, sink)).expect("a stream");
    let gets = |more: u64| {
        let wanted = frames() + more;
        let got = wait_until(LIMIT, || frames() >= wanted);
        assert!(got, "{} of {wanted} frames\n{}", frames(), stage.logs());
    };
    stage.unmute();
    gets(SOME);

    block_on(stream.cork()).expect("corked");
    in_state(stage, ClientState::Corked);
    let gone = stage.mic.wait_for_state(MicState::Suspended, LIMIT);
    assert!(gone, "the mic is {:?}", stage.mic.state());
    // The last cycle is counted when the virtual mic stops, which the mic has waited for.
    let still = the_client(stage).expect("it is there");
    fits(&still, &frames);
    let got = frames();

    // While others pull, too.
    let other = stage.client(1, Format::F32);
    stage.pulls(100, [&other]);
    drop(other);
    let after = the_client(stage).expect("it is there");
    assert_eq!((&after.live, &after.muted), (&still.live, &still.muted));
    assert_eq!(after.state, ClientState::Corked);
    assert_eq!(frames(), got, "a corked client gets nothing");

    block_on(stream.uncork()).expect("uncorked");
    gets(SOME);
    let runs = in_state(stage, ClientState::Running);
    let both = |it: &ClientStats| it.live.frames + it.muted.frames;
    assert!(both(&runs) >= both(&still) + SOME / 2, "{runs:?}");
    // Not by deleting the stream: the server goes on to pull until it has, and sends no more of it.
    block_on(stream.cork()).expect("corked");
    fits(&in_state(stage, ClientState::Corked), &frames);
}

/// What was counted is what the client got, as soon as that has come.
fn fits(counted: &ClientStats, got: &impl Fn() -> u64) {
    let frames = counted.live.frames + counted.muted.frames;
    let off = counted.xruns * u64::from(QUANTUM);
    let all = wait_until(LIMIT, || frames <= got() + UNDER_WAY + off);
    // Its last cycle is counted when the virtual mic has stopped too, which can be a moment later.
    assert!(
        all && got() <= frames + off + u64::from(QUANTUM),
        "{} frames: {counted:?}",
        got()
    );
}

fn the_client(stage: &Stage) -> Option<ClientStats> {
    let stats = stage.daemon.stats().expect("the daemon answers");
    stats
        .clients
        .into_iter()
        .find(|it| it.who.api == Api::Pulse)
}

fn in_state(stage: &Stage, state: ClientState) -> ClientStats {
    let mut client = None;
    let so = wait_until(LIMIT, || {
        client = the_client(stage);
        client.as_ref().is_some_and(|it| it.state == state)
    });
    assert!(
        so,
        "not {state:?}: {client:?} of {:?}\n{}",
        stage.daemon.stats(),
        stage.logs()
    );
    client.expect("waited for")
}
