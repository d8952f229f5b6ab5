//! Reads the recordings after the curtain and judges them sample by sample. Nothing here knows how they were made.

use truemute_pipewire::rehearsal::{App, Recording};

use super::sound::{Act, act_of};
use crate::report::{Finding, Verdict};

/// What one app's recording holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    app: App,
    /// Samples captured before the mute was acknowledged.
    before: u64,
    /// Samples captured while muted: a single one fails the demo.
    secret: u64,
    /// Samples captured after.
    after: u64,
    /// Exact zeros between the last sample of before and the first of after.
    pub(super) zeros: u64,
    /// Samples that are neither zero nor anything that the microphone ever made.
    foreign: u64,
    /// Samples of before that come behind one of after.
    stale: u64,
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
    fn text(self) -> &'static str {
        match self {
            Fault::Leak => "a leak, for it holds sound from while muted",
            Fault::Stale => "stale, for sound from before the mute comes after the unmute",
            Fault::Foreign => "unknown, for it holds samples that the microphone never made",
            Fault::Deaf => "no proof, for it heard nothing before or nothing after",
            Fault::Gap => "no proof, for it did not go on recording while muted",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Fault::Leak | Fault::Stale | Fault::Foreign => {
                "Run the demo again with --keep, and report it with the recordings."
            }
            Fault::Deaf | Fault::Gap => "Run the demo again on a less busy machine.",
        }
    }
}

impl Evidence {
    /// Looks at every sample of `recording`.
    pub(super) fn of(app: App, recording: &Recording) -> Self {
        let mut evidence = Self {
            app,
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

    /// The verdict for people; `muted` as in [`Evidence::judge`].
    pub(super) fn finding(&self, muted: u64) -> Finding {
        let Self {
            before,
            zeros,
            after,
            secret,
            ..
        } = self;
        let name = self.app.name();
        let mut what = format!(
            "{name}: {before} samples from before, {zeros} exact zeros, {after} samples from after; {secret} from while muted"
        );
        let fault = self.judge(muted).err();
        if let Some(fault) = fault {
            what.push_str(": ");
            what.push_str(fault.text());
        }
        what.push('.');
        Finding {
            verdict: match fault {
                None => Verdict::Good,
                Some(Fault::Leak | Fault::Stale | Fault::Foreign) => Verdict::Bad,
                Some(Fault::Deaf | Fault::Gap) => Verdict::Doubtful,
            },
            what,
            remedy: fault.map(|fault| fault.remedy().to_owned()),
        }
    }

    /// Judges it; `muted` is how many samples fit into the time between the two acknowledgements.
    fn judge(&self, muted: u64) -> Result<(), Fault> {
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
