//! The way of a sample through the real daemon: bit-exact and in the same cycle while live (0 frames added), exact zeros
//! while muted (P1), nothing from before an unmute after it (P3).

use std::collections::HashMap;

use truemute_pipewire::rehearsal::{Format, MicState, Signal};
use truemute_tests::evidence::{born_ns, live_stretch, ramp_hash, silent_stretch, trusted};
use truemute_tests::recorder::Recorder;
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, Switch, WhileMuted, each};
use truemute_tests::tape::Cycle;

const FORMATS: [Format; 2] = [Format::F32, Format::S16];
/// Buffers that each client gets in each state of the gate, at least.
const STRETCH: u64 = 40;

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
    stage.pulls(STRETCH, direct.iter().flatten().chain(&ours));

    let mut live = Vec::new();
    let mut muted = Vec::new();
    for signal in [0, 1] {
        stage.mic.play(signal);
        let unmute = stage.unmute();
        stage.pulls(STRETCH, &ours);
        let mute = stage.mute();
        stage.pulls(STRETCH, &ours);
        live.push((signal, unmute, mute.clone()));
        muted.push(mute);
    }
    let straight: Vec<_> = direct
        .iter_mut()
        .map(|it| it.take().expect("made above").tape().cycles_from(0))
        .collect();
    // Nobody else keeps the mic awake now: in release it really goes.
    if scene.while_muted == WhileMuted::Release {
        let gone = stage.mic.wait_for_state(MicState::Suspended, LIMIT);
        assert!(gone, "the mic is {:?}", stage.mic.state());
    }
    stage.mic.play(0);
    let alone = stage.unmute();
    stage.pulls(STRETCH, &ours);
    drop(stage);

    for ((client, straight), format) in ours.iter().zip(&straight).zip(FORMATS) {
        let case = Case {
            scene,
            format,
            cycles: tape(client),
        };
        let unmutes: Vec<_> = live.iter().map(|(_, unmute, _)| unmute).collect();
        case.silent_until(unmutes[0]);
        case.silent_after(&muted[0], unmutes[1]);
        case.silent_after(&muted[1], &alone);
        for (signal, unmute, mute) in &live {
            case.same_as_direct(straight, unmute, mute, BITS[*signal]);
            case.nothing_stale(unmute, mute, BITS[*signal]);
        }
        case.live_again(&alone);
    }
}

fn tape(client: &Recorder) -> Vec<Cycle> {
    assert_eq!(client.tape().lost(), 0);
    client.tape().cycles_from(0)
}

/// One client's tape.
struct Case<'a> {
    scene: &'a Scene,
    format: Format,
    cycles: Vec<Cycle>,
}

impl Case<'_> {
    fn silent_until(&self, unmute: &Switch) {
        let cycles = self.cycles.iter();
        self.all_zero(cycles.take_while(|cycle| cycle.nsec < unmute.sent_ns));
    }

    fn silent_after(&self, mute: &Switch, unmute: &Switch) {
        self.all_zero(silent_stretch(&self.cycles, mute, Some(unmute)));
    }

    fn all_zero<'a>(&self, cycles: impl IntoIterator<Item = &'a Cycle>) {
        let mut seen = 0;
        for cycle in cycles {
            seen += 1;
            assert_eq!(cycle.nonzero_bytes, 0, "{:?}: {cycle:?}", self.format);
            assert_eq!(cycle.frames, self.scene.quantum, "{cycle:?}");
        }
        assert!(seen >= STRETCH / 2, "{seen} silent cycles");
    }

    /// Each block equals, byte for byte, what a client of the mic itself got in the same cycle, and that is the ramp.
    fn same_as_direct(&self, direct: &[Cycle], unmute: &Switch, mute: &Switch, bits: u32) {
        let sure = trusted(direct);
        let direct: HashMap<_, _> = direct
            .iter()
            .zip(sure)
            .filter(|(_, sure)| *sure)
            .map(|(cycle, _)| ((cycle.clock, cycle.position), cycle))
            .collect();
        let (mut same, mut ramp) = (0, 0);
        for cycle in live_stretch(&self.cycles, unmute, Some(mute)) {
            let Some(other) = direct.get(&(cycle.clock, cycle.position)) else {
                continue;
            };
            assert_eq!(
                (cycle.hash, cycle.frames, cycle.nonzero_bytes),
                (other.hash, other.frames, other.nonzero_bytes),
                "{:?}: {cycle:?} is not {other:?}",
                self.format
            );
            same += 1;
            ramp += u64::from(self.is_ramp(cycle, bits));
        }
        // 23 bits do not fit 16: there, to be the same is all that can be asked.
        let exact = self.format == Format::F32 || bits == 15;
        assert!(
            same >= STRETCH / 2 && (ramp >= STRETCH / 2 || !exact),
            "{:?}: {same} the same, {ramp} the ramp, of {} cycles",
            self.format,
            self.cycles.len()
        );
    }

    /// Whether the block is the ramp that the simulated mic gives in this cycle: what it took in the one before.
    fn is_ramp(&self, cycle: &Cycle, bits: u32) -> bool {
        let Scene {
            channels, quantum, ..
        } = *self.scene;
        let start = cycle.position - u64::from(quantum);
        cycle.hash == ramp_hash(bits, self.format, channels, start, cycle.frames)
    }

    /// No sample was played by the mic before the unmute was sent.
    fn nothing_stale(&self, unmute: &Switch, mute: &Switch, bits: u32) {
        if self.format == Format::S16 && bits > 15 {
            return;
        }
        // A late client can misread its own position, so the ramp's time is read off those that are sure, and held
        // against every block.
        let sure: Vec<_> = live_stretch(&self.cycles, unmute, Some(mute))
            .into_iter()
            .filter(|cycle| self.is_ramp(cycle, bits))
            .collect();
        let mut blocks = 0;
        for cycle in &self.cycles {
            if cycle.is_zero() || cycle.done_ns < unmute.sent_ns || cycle.nsec >= mute.sent_ns {
                continue;
            }
            blocks += 1;
            let nearest = sure
                .iter()
                .min_by_key(|other| other.done_ns.abs_diff(cycle.done_ns))
                .expect("a live block in the ramp's time");
            let born = born_ns(cycle, nearest, bits, self.format);
            assert!(
                born.is_some_and(|born| born >= unmute.sent_ns && born <= cycle.done_ns),
                "{:?}: {cycle:?} has a sample of {born:?}, the unmute was at {}",
                self.format,
                unmute.sent_ns
            );
        }
        assert!(blocks >= STRETCH / 2, "{blocks} live blocks");
    }

    /// After the mic was let go of: zeros, then the ramp, nothing else, and nothing stale.
    fn live_again(&self, unmute: &Switch) {
        let end = Switch {
            sent_ns: u64::MAX,
            ..unmute.clone()
        };
        self.nothing_stale(unmute, &end, BITS[0]);
        let stretch = live_stretch(&self.cycles, unmute, None);
        let mut ramp = 0;
        for cycle in stretch {
            let exact = self.is_ramp(cycle, BITS[0]);
            assert!(exact || cycle.is_zero(), "{:?}: {cycle:?}", self.format);
            ramp += u64::from(exact);
        }
        assert!(ramp >= STRETCH / 2, "{ramp} blocks of the ramp");
    }
}
