//! A client whose node is asynchronous (`node.async`, since PipeWire 1.2): it is not waited for within the cycle. A program of
//! that server's own, since the library decides it.

use std::fs;

use rustix::process::Signal;
use truemute_core::observed::CountedBy;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::Program;
use truemute_tests::counted::gone;
use truemute_tests::recorder::wait_until;
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage};

/// A second of mono in 16 bits.
const BYTES: u64 = 96_000;
/// More than `pw-record` writes before the sound: the head of a WAV file.
const HEAD: u64 = 80;
/// Frames that it can have fetched and not yet written when it is ended.
const UNWRITTEN: u64 = 4_800;

#[test]
fn an_asynchronous_client_is_counted() {
    let scene = Scene {
        version: Version::Debian13,
        ..Scene::default()
    };
    let Some(stage) = Stage::set(&scene) else {
        return;
    };
    let file = stage.server.directory().join("asynchronous.wav");
    let mut command = stage.server.own_command("pw-record");
    command
        .args(["--target", VIRTUAL_MIC, "--channels=1", "--rate=48000"])
        .args(["--format=s16", "--latency=256", "-P"])
        .arg("{ node.async = true node.name = asynchronous }")
        .arg(&file);
    let mut recording = Program::start(command).expect("pw-record is there");
    let bytes = || fs::metadata(&file).map_or(0, |it| it.len());
    let has = |count| wait_until(LIMIT, || bytes() >= count);
    assert!(has(BYTES), "{} bytes\n{}", bytes(), stage.logs());
    stage.unmute();
    assert!(has(bytes() + BYTES));
    stage.mute();
    assert!(has(bytes() + BYTES));
    recording.stop(Signal::INT).expect("it ends");
    let got = (bytes() - HEAD) / 2;

    let stats = gone(&stage, 1);
    let client = &stats.clients[0];
    println!("{got} frames: {client:?}");
    assert_eq!(client.counted_by, CountedBy::ActivationRecord);
    let counted = client.live.frames + client.muted.frames;
    let off = client.xruns * u64::from(scene.quantum);
    assert!(
        counted + off >= got && counted <= got + UNWRITTEN + off,
        "{got} frames: {client:?}\n{}",
        stage.logs()
    );
    assert!(
        client.live.pulls >= 100 && client.muted.pulls >= 200,
        "{client:?}"
    );
}
