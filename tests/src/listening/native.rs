//! Native streams of our own that connect again when they fail, or when nothing comes any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use truemute_pipewire::VIRTUAL_MIC;

use super::{AGAIN_AFTER, GIVEN_UP_AFTER, Kind, LOOK_EVERY, Life, Piece};
use crate::recorder::{RecorderOptions, Recorders, State};
use crate::tape::Cycle;

/// The client's life, until it is told to end.
pub(super) fn client(kind: Kind, recorders: Arc<Recorders>) -> Life {
    let options = RecorderOptions {
        name: kind.listed_as().to_owned(),
        target: (kind == Kind::Explicit).then(|| VIRTUAL_MIC.to_owned()),
        ..RecorderOptions::default()
    };
    Box::new(move |log, ended| {
        while !ended.load(Ordering::Acquire) {
            let Ok(recorder) = recorders.add(options.clone()) else {
                thread::sleep(AGAIN_AFTER);
                continue;
            };
            log.connected();
            let (mut seen, mut heard) = (0, Instant::now());
            loop {
                let given_up = heard.elapsed() > GIVEN_UP_AFTER;
                log.given_up(given_up);
                let last = ended.load(Ordering::Acquire)
                    || matches!(recorder.state(), State::Failed(_))
                    || recorder.tape().lost() > 0
                    || given_up;
                let new = recorder.tape().cycles_from(seen);
                if !new.is_empty() {
                    heard = Instant::now();
                }
                seen += new.len();
                log.push(new.iter().map(piece));
                if last {
                    break;
                }
                thread::sleep(LOOK_EVERY);
            }
            drop(recorder);
            if !ended.load(Ordering::Acquire) {
                thread::sleep(AGAIN_AFTER);
            }
        }
    })
}

fn piece(cycle: &Cycle) -> Piece {
    Piece {
        at_ns: cycle.done_ns,
        frames: cycle.frames,
        nonzero: cycle.nonzero_samples,
        last: f32::from_bits(cycle.last_nonzero),
    }
}
