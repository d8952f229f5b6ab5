//! Reads the recordings after the curtain and judges them sample by sample. Nothing here knows how they were made.

use truemute_pipewire::rehearsal::{App, Recording};

use super::sound::{Act, act_of};

/// What one app's recording holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) app: App,
    /// Samples in all.
    pub(super) samples: u64,
    /// Samples captured before the mute was acknowledged.
    pub(super) before: u64,
    /// Samples captured while muted: a single one fails the demo.
    pub(super) secret: u64,
    /// Samples captured after.
    pub(super) after: u64,
    /// Exact zeros between the last sample of before and the first of after.
    pub(super) zeros: u64,
    /// Samples that are neither zero nor anything that the microphone ever made.
    pub(super) foreign: u64,
    /// Samples of before that come behind one of after.
    pub(super) stale: u64,
}

/// Why a recording proves nothing, or proves a leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Sound from while muted is in it.
    Leak,
    /// Sound from before the mute came after the unmute.
    Stale,
    /// There are samples that nobody can account for.
    Foreign,
    /// The app heard nothing before or nothing after, so its silence between proves nothing.
    Deaf,
    /// The app did not go on recording while muted: the zeros are fewer than half of what the time would give.
    Gap,
}

impl Fault {
    pub(super) fn text(self) -> &'static str {
        match self {
            Fault::Leak => "LEAK: it holds sound from while muted",
            Fault::Stale => "STALE: sound from before the mute came after the unmute",
            Fault::Foreign => "UNKNOWN: it holds samples that the microphone never made",
            Fault::Deaf => "NO PROOF: it heard nothing before or nothing after",
            Fault::Gap => "NO PROOF: it did not go on recording while muted",
        }
    }
}

impl Evidence {
    /// Looks at every sample of `recording`.
    pub(super) fn of(app: App, recording: &Recording) -> Self {
        let mut evidence = Self {
            app,
            samples: recording.samples.len() as u64,
            before: 0,
            secret: 0,
            after: 0,
            zeros: 0,
            foreign: 0,
            stale: 0,
        };
        let mut pause = 0;
        for sample in &recording.samples {
            match act_of(*sample) {
                Ok(None) => pause += 1,
                Ok(Some(Act::Before)) => {
                    evidence.before += 1;
                    evidence.stale += u64::from(evidence.after > 0);
                    pause = 0;
                }
                Ok(Some(Act::Secret)) => evidence.secret += 1,
                Ok(Some(Act::After)) => {
                    if evidence.after == 0 {
                        evidence.zeros = pause;
                    }
                    evidence.after += 1;
                }
                Err(_) => evidence.foreign += 1,
            }
        }
        evidence
    }

    /// Judges it; `muted` is how many samples fit into the time between the two acknowledgements.
    pub(super) fn judge(&self, muted: u64) -> Result<(), Fault> {
        let faults = [
            (self.secret > 0, Fault::Leak),
            (self.foreign > 0, Fault::Foreign),
            (self.stale > 0, Fault::Stale),
            (self.before == 0 || self.after == 0, Fault::Deaf),
            (self.zeros < muted / 2, Fault::Gap),
        ];
        faults
            .into_iter()
            .find(|(present, _)| *present)
            .map_or(Ok(()), |(_, fault)| Err(fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: f32 = 5.0 / 32768.0;
    const SECRET: f32 = 6.0 / 32768.0;
    const AFTER: f32 = -1.0 / 32768.0;

    fn judged(samples: &[f32]) -> Result<(), Fault> {
        let recording = Recording {
            samples: samples.to_vec(),
            channels: 1,
            rate: None,
        };
        Evidence::of(App::Parec, &recording).judge(4)
    }

    #[test]
    fn silence_between_two_sounds_is_the_proof() {
        assert_eq!(judged(&[0.0, BEFORE, 0.0, 0.0, 0.0, AFTER]), Ok(()));
    }

    #[test]
    fn one_wrong_sample_is_found() {
        let faults = [
            (
                &[BEFORE, 0.0, 0.0, SECRET, 0.0, 0.0, AFTER][..],
                Fault::Leak,
            ),
            (&[BEFORE, 0.0, 0.0, AFTER, BEFORE], Fault::Stale),
            (&[BEFORE, 0.0, -0.0, 0.0, AFTER], Fault::Foreign),
            (&[BEFORE, 0.0, 0.0, 0.0], Fault::Deaf),
            (&[0.0, 0.0, 0.0, AFTER], Fault::Deaf),
            (&[BEFORE, 0.0, AFTER], Fault::Gap),
        ];
        for (samples, fault) in faults {
            assert_eq!(judged(samples), Err(fault), "{samples:?}");
        }
    }
}
