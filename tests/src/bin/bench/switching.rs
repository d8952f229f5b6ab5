//! How fast mute and unmute are: by the positions of the samples that a client receives, and by the wall clock, with the
//! real mic held, idle or suspended; and what a command line costs of its own.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use truemute::demo::RunningDaemon;
use truemute::protocol::Switched;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{MicState, PrivateServer, SimulatedMic, ramp_phase};
use truemute_tests::evidence::Reading;
use truemute_tests::recorder::{Connections, Recorder, RecorderOptions, Recorders, wait_until};
use truemute_tests::tape::{Cycle, monotonic_ns};

use crate::figures::Spread;
use crate::rival::{Ground, LIMIT};
use crate::{Result, progress};

const RATE: f64 = 48_000.0;
/// Of the ramp that the simulated mic plays.
const RAMP_BITS: u32 = 23;
/// Cycles before a command that are looked at too: a late client logs them after it.
const BEFORE: usize = 4;

pub(crate) struct Plan {
    quanta: Vec<u32>,
    tries: usize,
    command_tries: usize,
}

impl Plan {
    pub(crate) fn new(quick: bool) -> Self {
        if quick {
            return Self {
                quanta: vec![256],
                tries: 20,
                command_tries: 20,
            };
        }
        Self {
            quanta: vec![256, 1024],
            tries: 200,
            command_tries: 200,
        }
    }
}

/// What the real mic is doing when the unmute comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mic {
    /// Running: `while_muted = "hold"`.
    Held,
    /// Let go of, but kept open by a corked client of its own.
    Idle,
    /// Let go of, its device closed.
    Suspended,
}

impl Mic {
    const ALL: [Mic; 3] = [Mic::Held, Mic::Idle, Mic::Suspended];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Mic::Held => "held",
            Mic::Idle => "idle",
            Mic::Suspended => "suspended",
        }
    }

    fn config(self) -> &'static str {
        match self {
            Mic::Held => "while_muted = \"hold\"\n",
            Mic::Idle | Mic::Suspended => "while_muted = \"release\"\n",
        }
    }

    fn state(self) -> MicState {
        match self {
            Mic::Held => MicState::Running,
            Mic::Idle => MicState::Idle,
            Mic::Suspended => MicState::Suspended,
        }
    }
}

/// All tries with one quantum and one state of the mic. Times in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) quantum: u32,
    pub(crate) mic: Mic,
    /// From the position that the clock had when the daemon got the mute, to the end of the last sound, in quanta.
    pub(crate) mute_quanta: Option<Spread>,
    /// The same from when the client sent it.
    pub(crate) mute_quanta_sent: Option<Spread>,
    /// Tries in which the recording client came so late that its positions cannot be relied on.
    pub(crate) unsure: usize,
    /// Tries with sound at or after the acknowledged position: must be none.
    pub(crate) broken_promises: usize,
    /// From sending a mute to its reply.
    pub(crate) mute_reply: Option<Spread>,
    /// From sending an unmute to its reply.
    pub(crate) unmute_reply: Option<Spread>,
    /// From sending an unmute until the client has the first sound.
    pub(crate) unmute_sound: Option<Spread>,
}

impl Row {
    pub(crate) fn quantum_ms(&self) -> f64 {
        f64::from(self.quantum) * 1e3 / RATE
    }
}

pub(crate) fn measure(ground: &Ground, plan: &Plan, rows: &mut Vec<Row>) -> Result<()> {
    for quantum in &plan.quanta {
        for mic in Mic::ALL {
            progress(format_args!("switching: q={quantum}, mic {mic:?}"));
            rows.push(Scene::set(ground, *quantum, mic)?.play(plan.tries)?);
        }
    }
    Ok(())
}

/// Its parts end in this order.
struct Scene {
    client: Recorder,
    /// Keeps the mic open, corked.
    _keeper: Option<Recorder>,
    _recorders: Recorders,
    daemon: RunningDaemon,
    mic: SimulatedMic,
    wanted: Mic,
    quantum: u32,
    server: PrivateServer,
}

struct Muted {
    from_receipt: Option<f64>,
    from_sent: Option<f64>,
    broken: bool,
    reply_ms: f64,
}

struct Unmuted {
    reply_ms: f64,
    sound_ms: f64,
}

impl Scene {
    fn set(ground: &Ground, quantum: u32, wanted: Mic) -> Result<Self> {
        let (server, mic) = ground.serve(quantum)?;
        let daemon = RunningDaemon::start(&ground.truemute, &server, wanted.config(), LIMIT)?;
        let recorders = Recorders::start(&server, Connections::Own)?;
        let record = |source: &str| {
            recorders.add(RecorderOptions {
                name: format!("client of {source}"),
                target: Some(source.to_owned()),
                cycles: 200_000,
                ..RecorderOptions::default()
            })
        };
        let client = record(VIRTUAL_MIC)?;
        let keeper = (wanted == Mic::Idle)
            .then(|| record(mic.name()))
            .transpose()?;
        for recorder in keeper.iter().chain([&client]) {
            if !recorder.wait_for_pulls(10, LIMIT) {
                return Err(format!("a client is not served\n{}", server.log()).into());
            }
        }
        if let Some(keeper) = &keeper {
            keeper.set_active(false);
        }
        Ok(Self {
            client,
            _keeper: keeper,
            _recorders: recorders,
            daemon,
            mic,
            wanted,
            quantum,
            server,
        })
    }

    fn play(&self, tries: usize) -> Result<Row> {
        let mut pace = Pace::new(self.quantum);
        let (mut mutes, mut unmutes) = (Vec::new(), Vec::new());
        for _ in 0..tries {
            if !self.mic.wait_for_state(self.wanted.state(), LIMIT) {
                return Err(format!("the mic is {:?}", self.mic.state()).into());
            }
            pace.pause();
            unmutes.push(self.unmute()?);
            pace.pause();
            mutes.push(self.mute()?);
        }
        if self.client.tape().lost() > 0 {
            return Err("the log of cycles is too small".into());
        }
        Ok(Row {
            quantum: self.quantum,
            mic: self.wanted,
            mute_quanta: Spread::of(mutes.iter().filter_map(|mute| mute.from_receipt)),
            mute_quanta_sent: Spread::of(mutes.iter().filter_map(|mute| mute.from_sent)),
            unsure: mutes.iter().filter(|mute| mute.from_sent.is_none()).count(),
            broken_promises: mutes.iter().filter(|mute| mute.broken).count(),
            mute_reply: Spread::of(mutes.iter().map(|mute| mute.reply_ms)),
            unmute_reply: Spread::of(unmutes.iter().map(|unmute| unmute.reply_ms)),
            unmute_sound: Spread::of(unmutes.iter().map(|unmute| unmute.sound_ms)),
        })
    }

    fn unmute(&self) -> Result<Unmuted> {
        let from = self.client.tape().logged();
        let sent = monotonic_ns();
        self.daemon.unmute()?;
        let replied = monotonic_ns();
        let first = self.client.wait_for_sound(true, from, LIMIT);
        let first = first.ok_or("no sound after an unmute")?;
        let heard = self.client.tape().cycles_from(first)[0].done_ns;
        // Live for a few cycles: the mute has something to end, and there are cycles whose position is sure.
        self.client
            .wait_for_pulls((first + 2 * BEFORE) as u64, LIMIT);
        Ok(Unmuted {
            reply_ms: milliseconds(sent, replied),
            sound_ms: milliseconds(sent, heard),
        })
    }

    fn mute(&self) -> Result<Muted> {
        let tape = self.client.tape();
        let from = tape.logged().saturating_sub(BEFORE);
        let sent = monotonic_ns();
        let reply = self.daemon.mute()?;
        let replied = monotonic_ns();
        let mut cycles = Vec::new();
        let silent = wait_until(LIMIT, || {
            cycles = tape.cycles_from(from);
            let done = cycles
                .iter()
                .rev()
                .take_while(|cycle| cycle.is_zero())
                .count();
            done > BEFORE
        });
        if !silent {
            return Err("sound after a mute".into());
        }
        let log = Reading::new(cycles);
        // The daemon had it at the latest so long before its reply came.
        let received = replied - reply.took_us * 1000;
        let quanta = |since| Some(frames_after(&log, since)?.max(0.0) / f64::from(self.quantum));
        Ok(Muted {
            from_receipt: quanta(received),
            from_sent: quanta(sent),
            broken: sound_after(&log, &reply),
            reply_ms: milliseconds(sent, replied),
        })
    }
}

/// How many frames after the moment `since` the last sound ends. A late client can misread a block's position, so it is
/// taken from the ramp that the block is a part of; the ramp's own place in the clock from a cycle whose position is sure.
fn frames_after(log: &Reading, since: u64) -> Option<f64> {
    let last = log.cycles.iter().rfind(|cycle| !cycle.is_zero())?;
    let known = log
        .cycles
        .iter()
        .zip(&log.sure)
        .rfind(|(cycle, sure)| **sure && !cycle.is_zero())
        .map(|(cycle, _)| cycle)?;
    let phase = |cycle: &Cycle| ramp_phase(RAMP_BITS, 0, f32::from_bits(cycle.first));
    let modulus = (1i64 << RAMP_BITS) - 1;
    let between = phase(last)?.cast_signed() - phase(known)?.cast_signed();
    let between = (between + modulus / 2).rem_euclid(modulus) - modulus / 2;
    let end = between + known.duration.cast_signed();
    Some(end as f64 - (since.cast_signed() - known.nsec.cast_signed()) as f64 * RATE / 1e9)
}

/// Whether there was sound at or after the position that the mute was acknowledged with.
fn sound_after(log: &Reading, reply: &Switched) -> bool {
    let clock = reply.clock.as_deref().and_then(|id| id.parse::<u32>().ok());
    let (Some(clock), Some(position)) = (clock, reply.position) else {
        return false;
    };
    log.cycles.iter().zip(&log.sure).any(|(cycle, sure)| {
        *sure && !cycle.is_zero() && cycle.clock == clock && cycle.position >= position
    })
}

/// What `truemute mute` and `truemute unmute` take as programs, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Commands {
    pub(crate) quantum: u32,
    /// From starting the program to its end.
    pub(crate) mute_total: Option<Spread>,
    /// The same.
    pub(crate) unmute_total: Option<Spread>,
    /// Less what the daemon needed until the audio thread had applied it.
    pub(crate) own: Option<Spread>,
    /// Starting and ending `true`, the smallest program there is, between these.
    pub(crate) smallest: Option<Spread>,
}

pub(crate) fn commands(ground: &Ground, plan: &Plan) -> Result<Commands> {
    let quantum = 256;
    progress(format_args!("switching: commands, q={quantum}"));
    let scene = Scene::set(ground, quantum, Mic::Held)?;
    let run = |word: &str| -> Result<(f64, f64)> {
        let mut command = scene.server.command(&ground.truemute);
        command.args([word, "--json"]).stderr(Stdio::inherit());
        let started = Instant::now();
        let output = command.output()?;
        let total = started.elapsed().as_secs_f64() * 1e3;
        let reply: Switched = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("truemute {word}: {error}"))?;
        Ok((total, total - reply.took_us as f64 / 1e3))
    };
    let mut pace = Pace::new(quantum);
    let (mut mutes, mut unmutes, mut smallest) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.command_tries {
        pace.pause();
        unmutes.push(run("unmute")?);
        pace.pause();
        mutes.push(run("mute")?);
        let started = Instant::now();
        scene.server.command("true").output()?;
        smallest.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Commands {
        quantum,
        mute_total: Spread::of(mutes.iter().map(|(total, _)| *total)),
        unmute_total: Spread::of(unmutes.iter().map(|(total, _)| *total)),
        own: Spread::of(mutes.iter().chain(&unmutes).map(|(_, own)| *own)),
        smallest: Spread::of(smallest),
    })
}

fn milliseconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}

/// Pauses of 0 to 2 quanta, so that commands come at every moment of a cycle.
struct Pace {
    state: u64,
    longest: Duration,
}

impl Pace {
    fn new(quantum: u32) -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
            longest: Duration::from_secs_f64(2.0 * f64::from(quantum) / RATE),
        }
    }

    fn pause(&mut self) {
        // Xorshift64 (Marsaglia 2003).
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let share = (self.state >> 40) as f64 / (1u64 << 24) as f64;
        thread::sleep(self.longest.mul_f64(share));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use truemute_pipewire::rehearsal::ramp_value;

    fn log(live: usize, count: u64) -> Reading {
        let cycle = |number: u64| Cycle {
            clock: 7,
            position: number * 48,
            nsec: 1_000_000_000 + number * 1_000_000,
            duration: 48,
            frames: 48,
            done_ns: 1_000_001_000 + number * 1_000_000,
            first: ramp_value(RAMP_BITS, 0, number * 48 - 48).to_bits(),
            nonzero_bytes: u32::from(number as usize <= live),
            ..Cycle::default()
        };
        Reading::new((1..=count).map(cycle).collect())
    }

    #[test]
    fn a_mute_is_measured_from_its_moment_to_the_end_of_the_last_sound() {
        let log = log(10, 30);
        // Half a cycle before the end of cycle 10.
        let frames = frames_after(&log, 1_010_500_000).expect("a known clock");
        assert!((frames - 24.0).abs() < 0.01, "{frames}");
    }

    #[test]
    fn sound_after_the_acknowledged_position_is_seen() {
        let reply = |position| Switched {
            schema: 1,
            gate: truemute::protocol::GateState::Muted,
            changed: true,
            applied: truemute::protocol::AppliedHow::Cycle,
            clock: Some("7".to_owned()),
            position: Some(position),
            took_us: 0,
        };
        assert!(sound_after(&log(10, 30), &reply(10 * 48)));
        assert!(!sound_after(&log(10, 30), &reply(11 * 48)));
    }
}
