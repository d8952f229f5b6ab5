//! Non-interference (P4), with `while_muted = "hold"`, so that the room does reach TrueMute: whatever sounds there while
//! the gate is muted, clients get and see the same.
//!
//! Compared between rooms: each buffer's bytes, size, offset, stride and flags, for clients in the graph's format, in 16
//! bits, resampled, and behind an echo canceller and a filter chain; every property, param, port, link and node state that
//! any client can look up; which objects come and go; every event while clients just record; what the daemon's status
//! says. Less numbers of objects and processes, which differ anyway.
//!
//! Of timing, this is compared: each client gets one buffer in each cycle of the graph. Not compared: when within the
//! cycle it comes, and how long the nodes took to process, which the server tells everybody (pw-top). Here both
//! follow the load of the machine. Not meant at all: a client that records from the real mic itself, as the witness does
//! here that proves the rooms differ.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use truemute::protocol::GateState;
use truemute_core::observed::MicState as Mic;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{Format, MicState, Signal};
use truemute_tests::effects::Effects;
use truemute_tests::evidence::Reading;
use truemute_tests::meddler::Meddler;
use truemute_tests::onlooker::{Mark, Onlooker, Sighting};
use truemute_tests::recorder::{Recorder, RecorderOptions, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, WhileMuted};
use truemute_tests::tape::Cycle;

/// Buffers in a row that are compared for each client.
const STRETCH: usize = 40;
/// In this many buffers a resampler's sizes come round: 5 at 44.1 kHz, 3 at 16 kHz.
const TURN: usize = 6;

#[test]
fn rooms_are_the_same_while_muted_on_debian_12() {
    check_rooms(Version::Installed);
}

#[test]
fn rooms_are_the_same_while_muted_on_debian_13() {
    check_rooms(Version::Debian13);
}

#[test]
fn a_change_in_the_room_is_not_seen_on_debian_12() {
    check_change(Version::Installed);
}

#[test]
fn a_change_in_the_room_is_not_seen_on_debian_13() {
    check_change(Version::Debian13);
}

/// The same play in three rooms, each on a server of its own.
fn check_rooms(version: Version) {
    let outcomes: Vec<_> = thread::scope(|scope| {
        let rooms = rooms().map(|room| scope.spawn(move || in_room(version, room)));
        rooms
            .into_iter()
            .map(|it| it.join().expect("the play went well"))
            .collect()
    });
    let Some(outcomes) = outcomes.into_iter().collect::<Option<Vec<_>>>() else {
        return;
    };
    let [silence, loud, speech] = &outcomes[..] else {
        panic!("three rooms");
    };
    // On a loaded machine what feeds the simulated mic can miss a block.
    assert_eq!(silence.sounding(), 0.0);
    assert!(loud.sounding() > 0.8, "{}", loud.sounding());
    assert!(
        (0.1..0.8).contains(&speech.sounding()),
        "{}",
        speech.sounding()
    );
    assert_same(&silence.seen, &loud.seen);
    assert_same(&silence.seen, &speech.seen);
}

/// One set, whose room changes from silence to noise to speech while its clients record.
fn check_change(version: Version) {
    let Some(stage) = Stage::set(&scene(version, rooms().to_vec())) else {
        return;
    };
    let onlooker = onlooker(&stage, &["default.audio.source"]);
    let clients = clients(&stage);
    let witness = stage.record(stage.mic.name(), 1, Format::F32);
    stage.pulls(10, clients.values().chain([&witness]));
    // Not muted from the start, but after sound.
    stage.mic.play(1);
    stage.unmute();
    for client in clients.values() {
        assert!(client.wait_for_sound(true, 0, LIMIT).is_some());
    }
    stage.mute();
    see_through_mute_flag(&stage, &onlooker);
    quiet(&stage, &onlooker, &clients);

    let mut seen = Vec::new();
    for room in [0, 1, 2] {
        let start = onlooker.mark();
        stage.mic.play(room);
        let sounds = room != 0;
        let from = witness.tape().logged();
        assert!(witness.wait_for_sound(sounds, from, LIMIT).is_some());
        let got = stretches(&stage, &clients);
        let end = onlooker.mark();
        seen.push(Seen {
            got,
            steady: onlooker.between(start, end),
            objects: onlooker.at(end),
            came_and_went: BTreeSet::new(),
            daemon: daemon(&stage),
        });
    }
    assert_same(&seen[0], &seen[1]);
    assert_same(&seen[0], &seen[2]);
}

/// Silence, loud noise, and something with the ups and downs of speech.
fn rooms() -> [Signal; 3] {
    const RATE: u32 = 48_000;
    let voice = (0..RATE).map(|frame| {
        let time = f64::from(frame) / f64::from(RATE);
        // Four syllables, and a pause after every second one.
        let loudness = (TAU * 2.0 * time).sin().max(0.0);
        let loudness = if time % 0.5 < 0.25 { loudness } else { 0.0 };
        let buzz: f64 = (1..12)
            .map(|it| (TAU * 140.0 * f64::from(it) * time).sin() / f64::from(it))
            .sum();
        (0.3 * loudness * buzz) as f32
    });
    let speech = Signal::Samples {
        samples: voice.collect(),
        rate: RATE,
    };
    [Signal::Silence, Signal::Noise { seed: 7 }, speech]
}

fn scene(version: Version, signals: Vec<Signal>) -> Scene {
    Scene {
        version,
        quantum: 1024,
        while_muted: WhileMuted::Hold,
        signals,
        ..Scene::default()
    }
}

/// What one play came to.
struct Outcome {
    /// What the real mic gave meanwhile.
    room: Vec<Cycle>,
    seen: Seen,
}

impl Outcome {
    /// Share of the room's blocks that were not silent.
    fn sounding(&self) -> f64 {
        let sounding = self.room.iter().filter(|cycle| !cycle.is_zero()).count();
        sounding as f64 / self.room.len() as f64
    }
}

/// All that clients got and saw.
struct Seen {
    got: BTreeMap<String, Vec<Got>>,
    steady: Vec<Sighting>,
    objects: BTreeMap<String, Vec<Value>>,
    /// Names, and whether the object went.
    came_and_went: BTreeSet<(String, bool)>,
    daemon: Value,
}

/// One buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Got {
    frames: u32,
    nonzero_bytes: u32,
    hash: u64,
    offset: u32,
    size: u32,
    stride: i32,
    flags: i32,
}

impl From<&Cycle> for Got {
    fn from(cycle: &Cycle) -> Self {
        Self {
            frames: cycle.frames,
            nonzero_bytes: cycle.nonzero_bytes,
            hash: cycle.hash,
            offset: cycle.chunk_offset,
            size: cycle.chunk_size,
            stride: cycle.chunk_stride,
            flags: cycle.chunk_flags,
        }
    }
}

/// Muted from the start: clients come, record, and one goes again.
fn in_room(version: Version, room: Signal) -> Option<Outcome> {
    let stage = Stage::set(&scene(version, vec![room]))?;
    let effects = Effects::start(&stage.server);
    // The echo canceller brings a sink.
    let defaults = ["default.audio.source", "default.audio.sink"];
    let onlooker = onlooker(&stage, &defaults);
    let beginning = onlooker.mark();
    let mut clients = clients(&stage);
    for source in Effects::SOURCES {
        clients.insert(source.to_owned(), stage.record(source, 1, Format::F32));
    }
    let witness = stage.record(stage.mic.name(), 1, Format::F32);
    stage.pulls(10, clients.values().chain([&witness]));
    let passing = client(&stage, "passing", Format::F32, None);
    stage.pulls(10, [&passing]);
    // An object that goes before it was looked at has no name.
    onlooker.mark();
    drop(passing);

    let capturing = wait_until(LIMIT, || {
        let status = stage.daemon.status().expect("the daemon answers");
        status.real_mic.state == Mic::Capturing
    });
    assert!(capturing, "hold means that the mic is heard");
    assert_eq!(stage.mic.state(), MicState::Running);
    see_through_mute_flag(&stage, &onlooker);
    let start = quiet(&stage, &onlooker, &clients);
    let first = witness.tape().logged();
    let got = stretches(&stage, &clients);
    let end = onlooker.mark();
    let room = witness.tape().cycles_from(first);
    for (name, client) in &clients {
        let all = client.tape().cycles_from(0);
        let silent = all.iter().all(Cycle::is_zero);
        assert!(silent, "{name} got sound; {}", effects.log());
    }
    Some(Outcome {
        room,
        seen: Seen {
            got,
            steady: onlooker.between(start, end),
            objects: onlooker.at(end),
            came_and_went: came_and_went(&onlooker, beginning, start),
            daemon: daemon(&stage),
        },
    })
}

/// Clients of the virtual mic of several kinds.
fn clients(stage: &Stage) -> BTreeMap<String, Recorder> {
    [
        ("float", Format::F32, None),
        ("s16", Format::S16, None),
        ("resampled", Format::F32, Some(44_100)),
        ("resampled-s16", Format::S16, Some(16_000)),
    ]
    .map(|(name, format, rate)| (name.to_owned(), client(stage, name, format, rate)))
    .into()
}

fn client(stage: &Stage, name: &str, format: Format, rate: Option<u32>) -> Recorder {
    stage.add(RecorderOptions {
        name: name.to_owned(),
        target: Some(VIRTUAL_MIC.to_owned()),
        format,
        rate,
        ..RecorderOptions::default()
    })
}

/// Begins to look when WirePlumber has chosen defaults of these kinds. `pw-dump` tells what a metadata object holds when it begins,
/// and of no change of that later.
fn onlooker<'a>(stage: &'a Stage, defaults: &[&str]) -> Onlooker<'a> {
    let mut onlooker = None;
    let chosen = wait_until(LIMIT, || {
        let objects = onlooker.insert(Onlooker::start(&stage.server)).all();
        let entries = objects.get("Metadata default").into_iter().flatten();
        let entries = entries.filter_map(|it| it["metadata"].as_array()).flatten();
        let keys: BTreeSet<_> = entries.filter_map(|it| it["key"].as_str()).collect();
        defaults.iter().all(|it| keys.contains(it))
    });
    assert!(chosen, "not all of {defaults:?} come\n{}", stage.logs());
    onlooker.expect("it was started")
}

/// The daemon sets the desktop's mute flag too, which silences behind the gate: a gate that leaks would not be seen. The same is
/// done in each room.
fn see_through_mute_flag(stage: &Stage, onlooker: &Onlooker<'_>) {
    let meddler = Meddler::connect(&stage.server);
    meddler.see_through_mute_flag(1);
    // An object that goes before it was looked at has no name.
    onlooker.mark();
}

/// Waits until what the test did has had all its effects: until nothing was seen for a while.
fn quiet(stage: &Stage, onlooker: &Onlooker<'_>, clients: &BTreeMap<String, Recorder>) -> Mark {
    let deadline = Instant::now() + LIMIT;
    let mut last = onlooker.mark();
    loop {
        stage.pulls(20, clients.values());
        let now = onlooker.mark();
        let events = onlooker.between(last, now);
        if events.is_empty() {
            return now;
        }
        assert!(Instant::now() < deadline, "there is no quiet: {events:?}");
        last = now;
    }
}

/// From now on, for each client, [`STRETCH`] buffers in a row that it got in as many cycles of the graph. A stretch in
/// which the client was late proves nothing, so the next is taken.
fn stretches(stage: &Stage, clients: &BTreeMap<String, Recorder>) -> BTreeMap<String, Vec<Got>> {
    let from: BTreeMap<_, _> = clients
        .iter()
        .map(|(name, client)| (name, client.tape().logged()))
        .collect();
    let mut got = BTreeMap::new();
    let whole = wait_until(LIMIT, || {
        got = clients
            .iter()
            .filter_map(|(name, client)| {
                Some((name.clone(), stretch(&Reading::of(client), from[name])?))
            })
            .collect();
        got.len() == clients.len()
    });
    assert!(
        whole,
        "of {:?} only {:?} got a buffer in each cycle\n{}",
        clients.keys(),
        got.keys(),
        stage.logs()
    );
    got
}

fn stretch(reading: &Reading, from: usize) -> Option<Vec<Got>> {
    let mut start = from;
    for (index, sure) in reading.sure.iter().enumerate().skip(from) {
        if !sure {
            start = index + 1;
        } else if index + 1 - start == STRETCH + TURN {
            let row = &reading.cycles[start..=index];
            // A resampler's buffers have two sizes in turn: begin where the smaller one does.
            let begins = |pair: &[Cycle]| pair[1].frames < pair[0].frames;
            let begin = row.windows(2).position(begins).map_or(0, |it| it + 1);
            let row = row.get(begin..begin + STRETCH)?;
            return Some(row.iter().map(Got::from).collect());
        }
    }
    None
}

fn came_and_went(onlooker: &Onlooker<'_>, start: Mark, end: Mark) -> BTreeSet<(String, bool)> {
    onlooker
        .between(start, end)
        .into_iter()
        .map(|it| (it.object, it.state.is_null()))
        .collect()
}

/// What the daemon tells, without times and numbers of processes, and without what it can see of all the machine's processes: to
/// one in another root that depends on what else runs.
fn daemon(stage: &Stage) -> Value {
    let of_machine = |warning: &&String| warning.starts_with("The daemon cannot see");
    let status = stage.daemon.status().expect("the daemon answers");
    assert_eq!(status.gate, GateState::Muted);
    let clients = stage.daemon.clients().expect("the daemon answers").clients;
    let mut clients: Vec<_> = clients
        .iter()
        .map(|it| {
            json!([
                it.who.stream,
                it.who.app,
                it.who.identity,
                it.who.api,
                it.who.purpose,
                it.state,
                it.counted_by,
                it.live.pulls > 0,
                it.muted.pulls > 0
            ])
        })
        .collect();
    clients.sort_by_key(Value::to_string);
    json!({
        "reason": status.reason,
        "real_mic": status.real_mic,
        "virtual_mic": status.virtual_mic,
        "clients": clients,
        "bypasses": status.bypasses.iter().map(|it| &it.real_mic).collect::<Vec<_>>(),
        "warnings": status.warnings.iter().filter(|it| !of_machine(it)).collect::<Vec<_>>(),
    })
}

fn assert_same(one: &Seen, other: &Seen) {
    for (name, got) in &one.got {
        let pairs = got.iter().zip(&other.got[name]).enumerate();
        let sizes = |got: &[Got]| got.iter().map(|it| it.frames).collect::<Vec<_>>();
        for (index, (one, other_got)) in pairs {
            assert_eq!(
                one,
                other_got,
                "{name}, buffer {index} of {:?} and {:?}",
                sizes(got),
                sizes(&other.got[name])
            );
        }
    }
    assert_eq!(one.steady, other.steady, "events while clients recorded");
    let objects = |it: &Seen| json!(it.objects);
    assert_eq!(difference(&objects(one), &objects(other)), None);
    assert_eq!(one.came_and_went, other.came_and_went);
    assert_eq!(difference(&one.daemon, &other.daemon), None);
}

/// Where two values differ, and how.
fn difference(one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) if one.len() == other.len() => {
            one.iter().find_map(|(key, value)| {
                let other = other.get(key).unwrap_or(&Value::Null);
                difference(value, other).map(|it| format!("/{key}{it}"))
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            let mut found = pairs.filter_map(|(index, (one, other))| {
                difference(one, other).map(|it| format!("/{index}{it}"))
            });
            found.next()
        }
        _ => (one != other).then(|| format!(": {one} is not {other}")),
    }
}
