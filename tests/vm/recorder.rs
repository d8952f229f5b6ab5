//! Apps that record, each a program of its own kind: when they got how many frames, and whether there was sound in them.

use std::fmt;
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use truemute_tests::tape::monotonic_ns;

use crate::person;
use crate::ramp::Quickest;
use crate::report::Trouble;
use crate::wait::until;

/// Each records the default source: 16 bit, 48 kHz, two channels, to its standard output.
const APPS: [&str; 3] = [
    "pw-record --format s16 --rate 48000 --channels 2 --raw -",
    "parec --format=s16le --rate=48000 --channels=2 --latency-msec=60",
    "arecord -q -D pipewire -f S16_LE -r 48000 -c 2 -t raw",
];
const FRAME_BYTES: usize = 4;
/// By so much later than the quickest way allows may a sound from before a blow arrive, judged by where in the ramp it stands:
/// what was on its way in the card, the graph and a busy machine. How long an app kept it in buffers of its own is no matter.
const ON_ITS_WAY_NS: i64 = 250_000_000;
/// The quickest way is looked for in this time before a blow.
const BEFORE_NS: u64 = 2_000_000_000;
/// An app has sound, or silence, when this much of its recording was so.
const STRETCH_NS: u64 = 400_000_000;
/// In emulation the start of an app, or of the card, can take seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// What came in one read.
#[derive(Clone, Copy)]
struct Piece {
    at_ns: u64,
    frames: u64,
    /// Bytes that are not zero.
    sounding: u64,
    /// The last sample that is not zero.
    value: Option<i16>,
}

/// What an app got in a span of time.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) frames: u64,
    /// Bytes that are not zero.
    pub(crate) sounding: u64,
    /// When the first of them came, after the beginning of the span.
    pub(crate) first_sound: Option<Duration>,
    /// The longest time without anything.
    pub(crate) gap: Duration,
}

/// One app that records.
pub(crate) struct Recorder {
    pub(crate) line: String,
    child: Child,
    pieces: Arc<Mutex<Vec<Piece>>>,
}

impl Recorder {
    /// Starts an app that writes its recording to its standard output.
    pub(crate) fn start(line: &str) -> Result<Self, Trouble> {
        let mut words = line.split_whitespace();
        let mut child = person::command(words.next().unwrap_or_default())
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let pieces = Arc::new(Mutex::new(Vec::new()));
        let Some(mut output) = child.stdout.take() else {
            return Err("an app has no standard output".into());
        };
        let into = Arc::clone(&pieces);
        std::thread::spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            let mut rest = 0;
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                let sounding = bytes[..read].iter().filter(|byte| **byte != 0).count();
                let first = (FRAME_BYTES - rest) % FRAME_BYTES;
                let frames = bytes[first.min(read)..read].chunks_exact(FRAME_BYTES);
                let values = frames.map(|frame| i16::from_le_bytes([frame[0], frame[1]]));
                let whole = rest + read;
                rest = whole % FRAME_BYTES;
                let piece = Piece {
                    at_ns: monotonic_ns(),
                    frames: (whole / FRAME_BYTES) as u64,
                    sounding: sounding as u64,
                    value: values.rev().find(|value| *value != 0),
                };
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(piece);
            }
        });
        Ok(Self {
            line: line.to_owned(),
            child,
            pieces,
        })
    }

    /// The program's name.
    pub(crate) fn name(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The app's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What came in this span of the monotonic clock, in nanoseconds.
    pub(crate) fn heard(&self, from_ns: u64, to_ns: u64) -> Heard {
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut heard = Heard::default();
        let mut last = from_ns;
        for piece in pieces
            .iter()
            .filter(|it| (from_ns..to_ns).contains(&it.at_ns))
        {
            heard.frames += piece.frames;
            heard.sounding += piece.sounding;
            if piece.sounding > 0 {
                let after = Duration::from_nanos(piece.at_ns - from_ns);
                heard.first_sound.get_or_insert(after);
            }
            heard.gap = heard.gap.max(Duration::from_nanos(piece.at_ns - last));
            last = piece.at_ns;
        }
        heard.gap = heard
            .gap
            .max(Duration::from_nanos(to_ns.saturating_sub(last)));
        heard
    }

    /// What of the ramp came in this span, and when.
    pub(crate) fn values(&self, from_ns: u64, to_ns: u64) -> Vec<(u64, i16)> {
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces
            .iter()
            .filter(|it| (from_ns..to_ns).contains(&it.at_ns))
            .filter_map(|it| Some((it.at_ns, it.value?)))
            .collect()
    }

    /// Whether sound came once more after a silence.
    fn sounded_again(&self, from_ns: u64, to_ns: u64) -> bool {
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces
            .iter()
            .filter(|it| (from_ns..to_ns).contains(&it.at_ns))
            .skip_while(|it| it.sounding > 0)
            .any(|it| it.sounding > 0)
    }

    /// What came last.
    fn lately(&self) -> Heard {
        let now = monotonic_ns();
        self.heard(now - STRETCH_NS, now)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // It may have ended by itself: that is noticed in what it heard.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What apps got after a blow that ended the sound.
pub(crate) struct Drained {
    /// The longest time without anything.
    pub(crate) gap: Duration,
    /// How long after the blow the quickest way from the microphone would have brought their newest sound, if they got any.
    newest_ns: Option<i64>,
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(newest_ns) = self.newest_ns else {
            return f.write_str("apps got no sound after it");
        };
        let newest = newest_ns / 1_000_000;
        let word = if newest < 0 { "before" } else { "after" };
        write!(
            f,
            "the newest sound that apps got can have come {} ms {word} it, of {} ms that sound may be on its way",
            newest.abs(),
            ON_ITS_WAY_NS / 1_000_000
        )
    }
}

/// One app of each kind, all recording the default source.
pub(crate) struct Apps(Vec<Recorder>);

impl Apps {
    /// Starts them, and waits until each gets something.
    pub(crate) fn start() -> Result<Self, Trouble> {
        let apps = APPS.map(Recorder::start);
        let apps = Self(apps.into_iter().collect::<Result<_, _>>()?);
        apps.all("gets nothing", |heard| heard.frames > 0)?;
        Ok(apps)
    }

    /// Waits until all get sound.
    pub(crate) fn sound(&self) -> Result<Duration, Trouble> {
        self.all("gets no sound", |heard| heard.sounding > heard.frames)
    }

    /// Waits until all get silence, and go on getting it.
    pub(crate) fn silence(&self) -> Result<Duration, Trouble> {
        self.all("gets no silence", |heard| {
            heard.frames > 0 && heard.sounding == 0
        })
    }

    /// Fails if any of them got a sound in this span; else says what the longest gap was.
    pub(crate) fn silent(&self, from_ns: u64, to_ns: u64) -> Result<Duration, Trouble> {
        let mut gap = Duration::ZERO;
        for app in &self.0 {
            let heard = app.heard(from_ns, to_ns);
            if heard.sounding > 0 {
                return Err(Trouble::Failed(format!(
                    "{} got {} bytes of sound in {} frames, the first {:?} after the time from which on there must be none",
                    app.name(),
                    heard.sounding,
                    heard.frames,
                    heard.first_sound.unwrap_or_default()
                )));
            }
            gap = gap.max(heard.gap);
        }
        Ok(gap)
    }

    /// Fails if any of them got a sound in the time after a blow that the microphone heard after it, or sound after a silence.
    /// The ramp tells when it was heard, not when it came: a busy host delays what is in a buffer.
    pub(crate) fn only_drained(&self, from_ns: u64, to_ns: u64) -> Result<Drained, Trouble> {
        let before = self
            .0
            .iter()
            .flat_map(|app| app.values(from_ns.saturating_sub(BEFORE_NS), from_ns));
        let quickest = Quickest::of(before).ok_or("no sound came just before the blow")?;
        self.silent_at_last(from_ns, to_ns)?;
        let mut drained = Drained {
            gap: Duration::ZERO,
            newest_ns: None,
        };
        for app in &self.0 {
            let values = app.values(from_ns, to_ns).into_iter();
            let newest = values
                .map(|(_, value)| quickest.after_ns(from_ns, value))
                .max();
            if let Some(late) = newest.filter(|it| *it > ON_ITS_WAY_NS) {
                return Err(Trouble::Failed(format!(
                    "{} got sound that the microphone heard after the blow: the quickest way would have brought it {} ms after it",
                    app.name(),
                    late / 1_000_000
                )));
            }
            drained.newest_ns = drained.newest_ns.max(newest);
            drained.gap = drained.gap.max(app.heard(from_ns, to_ns).gap);
        }
        Ok(drained)
    }

    /// Fails if any of them got sound after a silence.
    pub(crate) fn silent_at_last(&self, from_ns: u64, to_ns: u64) -> Result<(), Trouble> {
        match self.0.iter().find(|app| app.sounded_again(from_ns, to_ns)) {
            None => Ok(()),
            Some(app) => Err(Trouble::Failed(format!(
                "{} got sound, then silence, then sound again",
                app.name()
            ))),
        }
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Recorder> {
        self.0.iter()
    }

    fn all(&self, trouble: &str, state: impl Fn(Heard) -> bool) -> Result<Duration, Trouble> {
        let mut longest = Duration::ZERO;
        let started = std::time::Instant::now();
        for app in &self.0 {
            let left = LIMIT.saturating_sub(started.elapsed());
            until(left, || state(app.lately())).ok_or_else(|| {
                Trouble::Failed(format!(
                    "{} {trouble} for {} s: {:?}",
                    app.name(),
                    LIMIT.as_secs(),
                    app.lately()
                ))
            })?;
            longest = started.elapsed();
        }
        Ok(longest)
    }
}
