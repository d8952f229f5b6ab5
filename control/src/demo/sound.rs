//! What the demo's microphone says in each act, and the mark by which each of its samples can be told apart later.

use std::f32::consts::TAU;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use truemute_pipewire::rehearsal::{Program, Recording, find_program};

/// Sample rate of the private server, and so of everything in the demo.
pub(super) const RATE: u32 = 48_000;

/// An act of the demo. Every sample that the microphone makes in it carries the act's mark in the two lowest of its 16
/// bits (inaudible, 84 dB down), and no sample is zero: whoever finds a sample knows when it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Before the mute.
    Before,
    /// While muted: what nobody may hear.
    Secret,
    /// After the unmute.
    After,
}

impl Act {
    pub(super) const ALL: [Act; 3] = [Act::Before, Act::Secret, Act::After];

    /// What is said.
    pub(super) fn text(self) -> &'static str {
        match self {
            Act::Before => "The microphone is live. You can hear me.",
            Act::Secret => "This is a secret. Nobody may hear it.",
            Act::After => "I am live again. Now you hear me.",
        }
    }

    fn mark(self) -> i16 {
        match self {
            Act::Before => 1,
            Act::Secret => 2,
            Act::After => 3,
        }
    }
}

/// Whose sample this is: `Ok(None)` is silence, `Err` is a value that the microphone never made.
pub(super) fn act_of(sample: f32) -> Result<Option<Act>, f32> {
    if sample.to_bits() == 0 {
        return Ok(None);
    }
    let scaled = sample * 32768.0;
    if scaled.fract() != 0.0 || !(-32768.0..32768.0).contains(&scaled) {
        return Err(sample);
    }
    let mark = scaled as i16 & 3;
    let act = Act::ALL.into_iter().find(|act| act.mark() == mark);
    act.map(Some).ok_or(sample)
}

/// Where the demo's sound comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// espeak-ng speaks.
    Speech,
    /// Generated tones, for espeak-ng is not installed or did not work.
    Tones,
}

/// The marked sound of each act, at [`RATE`].
pub(super) fn voices(scratch: &Path) -> (Voice, [Vec<f32>; 3]) {
    let spoken: Option<Vec<_>> = Act::ALL
        .into_iter()
        .map(|act| speak(act.text(), scratch))
        .collect();
    match spoken.and_then(|sounds| <[Vec<f32>; 3]>::try_from(sounds).ok()) {
        Some([a, b, c]) => {
            let marked = [(Act::Before, a), (Act::Secret, b), (Act::After, c)];
            (
                Voice::Speech,
                marked.map(|(act, sound)| mark(&sound, act.mark())),
            )
        }
        None => (
            Voice::Tones,
            Act::ALL.map(|act| mark(&tones(act), act.mark())),
        ),
    }
}

/// Speech at [`RATE`], with a pause behind it; nothing if espeak-ng is missing or fails.
fn speak(text: &str, scratch: &Path) -> Option<Vec<f32>> {
    find_program("espeak-ng")?;
    let file = scratch.join("speech.wav");
    let mut command = Command::new("espeak-ng");
    command.arg("-s").arg("165").arg("-w").arg(&file).arg(text);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = Program::start(command).ok()?.wait(Duration::from_secs(3))?;
    let speech = status
        .success()
        .then(|| Recording::read_wav(&file).ok())
        .flatten();
    // Left behind it would only go with the directory.
    let _ = fs::remove_file(&file);
    let speech = speech.filter(|speech| speech.channels == 1 && !speech.samples.is_empty())?;
    let mut sound = resample(&speech.samples, speech.rate?);
    sound.extend([0.0; RATE as usize / 4]);
    Some(sound)
}

fn resample(samples: &[f32], from: u32) -> Vec<f32> {
    let frames = samples.len() as u64 * u64::from(RATE) / u64::from(from.max(1));
    (0..frames)
        .map(|frame| {
            let place = frame as f64 * f64::from(from) / f64::from(RATE);
            let index = place as usize;
            let here = samples[index.min(samples.len() - 1)];
            let next = samples[(index + 1).min(samples.len() - 1)];
            here + (next - here) * place.fract() as f32
        })
        .collect()
}

/// Two seconds of notes, a fifth apart from act to act.
fn tones(act: Act) -> Vec<f32> {
    let hertz = 220.0 * 1.5f32.powi(i32::from(act.mark()) - 1);
    (0..2 * RATE)
        .map(|frame| {
            let seconds = frame as f32 / RATE as f32;
            let swell = (TAU * 2.0 * seconds).sin().abs();
            0.3 * swell * (TAU * hertz * seconds).sin()
        })
        .collect()
}

/// Rounds to 16 bits, the lowest two of them the mark. A mark is never 0, so no sample is.
fn mark(sound: &[f32], mark: i16) -> Vec<f32> {
    sound
        .iter()
        .map(|sample| {
            let rounded = (sample * 32767.0).clamp(-32768.0, 32767.0) as i16;
            f32::from((rounded & !3) | mark) / 32768.0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_tells_its_act() {
        let sound: Vec<_> = (-1000..=1000).map(|step| step as f32 / 1000.0).collect();
        for act in Act::ALL {
            for sample in mark(&sound, act.mark()) {
                assert_eq!(act_of(sample), Ok(Some(act)));
            }
        }
        assert_eq!(act_of(0.0), Ok(None));
        for foreign in [-0.0, 1e-9, 0.1, 4.0 / 32768.0, 1.5, f32::NAN] {
            assert!(act_of(foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn there_is_a_voice_with_and_without_espeak() {
        let scratch = tempfile::tempdir().unwrap();
        let (_, sounds) = voices(scratch.path());
        for sound in sounds {
            assert!(sound.len() > RATE as usize);
        }
        assert!(tones(Act::Secret).iter().any(|sample| sample.abs() > 0.2));
    }
}
