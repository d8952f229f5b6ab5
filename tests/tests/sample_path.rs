//! The way of a sample through the real daemon: bit-exact and in the same cycle while live (0 frames added), exact zeros
//! while muted (P1), nothing from before an unmute after it (P3).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use truemute_pipewire::rehearsal::{Format, MicState, Signal};
use truemute_tests::evidence::{Reading, born_ns, ramp_delay};
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::{Recorder, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, Switch, WhileMuted, each};
use truemute_tests::tape::Cycle;
use truemute_tests::truemute::unmute_if_starved;

const FORMATS: [Format; 2] = [Format::F32, Format::S16];
/// Blocks of each client that have to prove something, in each state of the gate.
const ENOUGH: u64 = 30;

#[test]
fn bit_exact_live_zero_muted_on_debian_12() {
    each(&scenes(Version::Installed), check);
}

#[test]
fn bit_exact_live_zero_muted_on_debian_13() {
    each(&scenes(Version::Debian13), check);
}

fn scenes(version: Version) -> Vec<Scene> {
    let mut scenes = Vec::new();
    for quantum in [64, 256, 1024] {
        for channels in [1, 2] {
            for while_muted in WhileMuted::BOTH {
                scenes.push(Scene {
                    version,
                    quantum,
                    channels,
                    while_muted,
                    // The first fits 16 bits; the second uses every bit of a float's fraction.
                    signals: vec![Signal::Ramp { bits: 15 }, Signal::Ramp { bits: 23 }],
                    ..Scene::default()
                });
            }
        }
    }
    scenes
}

/// What the mic plays, by the signals in [`scenes`].
const BITS: [u32; 2] = [15, 23];

fn check(scene: &Scene) {
    let Some(stage) = Stage::set(scene) else {
        return;
    };
    let mut direct = FORMATS.map(|it| Some(stage.record(stage.mic.name(), scene.channels, it)));
    let ours = FORMATS.map(|it| stage.client(scene.channels, it));
    // The desktop's mute flag silences too, and would hide what the gate lets through.
    let meddler = Meddler::connect(&stage.server);
    let see_through_flag = || meddler.see_through_mute_flag(scene.channels as usize);
    see_through_flag();
    stage.pulls(ENOUGH, direct.iter().flatten().chain(&ours));

    let mut last_mute: Option<Switch> = None;
    for (signal, bits) in BITS.into_iter().enumerate() {
        stage.mic.play(signal);
        let unmute = stage.unmute();
        stage.pulls_until(&ours, || {
            unmute_if_starved(&stage.daemon);
            let mic = Mic::new(scene, bits, direct.iter().flatten());
            ours.iter().zip(FORMATS).all(|(client, format)| {
                let case = Case::new(scene, format, client);
                case.same_as_direct(&mic, &unmute, &stage) >= ENOUGH
            })
        });
        let mute = stage.mute();
        see_through_flag();
        stage.pulls(ENOUGH, &ours);
        for (client, format) in ours.iter().zip(FORMATS) {
            let case = Case::new(scene, format, client);
            case.silent_before(last_mute.as_ref(), &unmute);
            case.nothing_stale(&unmute, mute.sent_ns, bits);
        }
        last_mute = Some(mute);
    }

    // Nobody else keeps the mic awake now: in release it really goes.
    direct.iter_mut().for_each(|it| *it = None);
    if scene.while_muted == WhileMuted::Release {
        let gone = stage.mic.wait_for_state(MicState::Suspended, LIMIT);
        assert!(gone, "the mic is {:?}", stage.mic.state());
    }
    stage.mic.play(0);
    let unmute = stage.unmute();
    stage.pulls_until(&ours, || {
        unmute_if_starved(&stage.daemon);
        ours.iter().zip(FORMATS).all(|(client, format)| {
            let case = Case::new(scene, format, client);
            case.ramp_or_zeros(&unmute, BITS[0]) >= ENOUGH
        })
    });
    for (client, format) in ours.iter().zip(FORMATS) {
        let case = Case::new(scene, format, client);
        case.silent_before(last_mute.as_ref(), &unmute);
        case.nothing_stale(&unmute, u64::MAX, BITS[0]);
    }
}

/// What clients of the mic itself got, by format, clock and position; only of cycles in which the mic did not stumble.
struct Mic(HashMap<(Format, u32, u64), Cycle>);

impl Mic {
    /// `clients` are in the order of [`FORMATS`].
    fn new<'a>(scene: &Scene, bits: u32, clients: impl Iterator<Item = &'a Recorder>) -> Self {
        let mut steady = HashSet::new();
        let mut blocks = HashMap::new();
        for (client, format) in clients.zip(FORMATS) {
            let reading = Reading::of(client);
            for (cycle, sure) in reading.cycles.iter().zip(&reading.sure) {
                let place = (cycle.clock, cycle.position);
                if *sure && format == FORMATS[0] && is_ramp(scene, format, bits, cycle) {
                    steady.insert(place);
                }
                if *sure && steady.contains(&place) && !cycle.is_zero() {
                    blocks.insert((format, place.0, place.1), *cycle);
                }
            }
        }
        Self(blocks)
    }
}

/// Whether the block is the ramp as the simulated mic gives it: what it took in the cycle before, or on an overloaded
/// machine a few cycles before.
fn is_ramp(scene: &Scene, format: Format, bits: u32, cycle: &Cycle) -> bool {
    let delay = ramp_delay(cycle, bits, format, scene.channels);
    delay.is_some_and(|delay| (1..=4).any(|cycles| delay == cycles * u64::from(scene.quantum)))
}

/// Whether a busy machine kept the daemon from renewing its lease: it says so after the gate has fallen silent (P2).
fn lease_ran_out(stage: &Stage) -> bool {
    wait_until(Duration::from_secs(2), || stage.leases_that_ran_out() > 0)
}

/// One client's tape.
struct Case<'a> {
    scene: &'a Scene,
    format: Format,
    reading: Reading,
}

impl<'a> Case<'a> {
    fn new(scene: &'a Scene, format: Format, client: &Recorder) -> Self {
        Self {
            scene,
            format,
            reading: Reading::of(client),
        }
    }

    /// Every byte of every block is zero, from the acknowledged mute (or the start) until the unmute was sent.
    fn silent_before(&self, mute: Option<&Switch>, unmute: &Switch) {
        let stretch = self.reading.silent(mute, Some(unmute));
        for cycle in &stretch {
            assert_eq!(cycle.nonzero_bytes, 0, "{:?}: {cycle:?}", self.format);
            assert_eq!(cycle.frames, self.scene.quantum, "{cycle:?}");
        }
        assert!(stretch.len() as u64 >= ENOUGH / 2, "{}", stretch.len());
    }

    /// Each block equals, byte for byte, what a client of the mic itself got in the same cycle. Counts them.
    fn same_as_direct(&self, mic: &Mic, unmute: &Switch, stage: &Stage) -> u64 {
        let stumbled = self.reading.sure.contains(&false);
        let mut same = 0;
        for cycle in self.reading.live(unmute, None) {
            let place = (self.format, cycle.clock, cycle.position);
            let Some(other) = mic.0.get(&place) else {
                continue;
            };
            // The way through the daemon is longer: an xrun can hit it alone. What is lost then is silence.
            let same_bytes = (cycle.hash, cycle.frames) == (other.hash, other.frames);
            if !same_bytes && cycle.is_zero() && (stumbled || lease_ran_out(stage)) {
                continue;
            }
            assert!(
                same_bytes,
                "{:?}: {cycle:?} is not {other:?}, live from {:?}\n{}",
                self.format,
                unmute.place(),
                stage.logs()
            );
            same += 1;
        }
        same
    }

    /// No sample that came after the unmute was sent, and before `end_ns`, was played by the mic before it.
    fn nothing_stale(&self, unmute: &Switch, end_ns: u64, bits: u32) {
        // A ramp of 23 bits does not fit 16: there nothing can be read back.
        if self.format == Format::S16 && bits > 15 {
            return;
        }
        // A late client can misread its own position, so the ramp's time is read off those that are sure, and held
        // against every block.
        let sure: Vec<_> = self
            .reading
            .live(unmute, None)
            .into_iter()
            .filter(|cycle| is_ramp(self.scene, self.format, bits, cycle))
            .collect();
        let mut blocks = 0;
        for cycle in &self.reading.cycles {
            // In an xrun of the mic's own, one channel can be missing.
            let audible = !cycle.is_zero() && cycle.first != 0;
            if !audible || cycle.done_ns < unmute.sent_ns || cycle.nsec >= end_ns {
                continue;
            }
            blocks += 1;
            let known = sure.first().expect("a live block in the ramp's time");
            let born = born_ns(cycle, known, bits, self.format);
            assert!(
                born.is_some_and(|born| born >= unmute.sent_ns && born <= cycle.done_ns),
                "{:?}: {cycle:?} has a sample of {born:?}, the unmute was at {}",
                self.format,
                unmute.sent_ns
            );
        }
        assert!(blocks >= ENOUGH / 2, "{blocks} live blocks");
    }

    /// The ramp as the mic plays it, or zeros until the mic has started, and nothing else. Counts the ramp's blocks.
    fn ramp_or_zeros(&self, unmute: &Switch, bits: u32) -> u64 {
        let stumbled = self.reading.sure.contains(&false);
        let mut exact = 0;
        for cycle in self.reading.live(unmute, None) {
            let ramp = is_ramp(self.scene, self.format, bits, cycle);
            assert!(
                ramp || cycle.is_zero() || stumbled,
                "{:?}: {cycle:?}",
                self.format
            );
            exact += u64::from(ramp);
        }
        exact
    }
}
