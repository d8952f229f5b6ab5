//! Recording programs that are started again when they end, or when nothing comes any more. They write into files, which are read as they grow.

use std::fs::{self, File};
use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{App, Format, PrivateServer, Wanted};

use super::{AGAIN_AFTER, GIVEN_UP_AFTER, Kind, LOOK_EVERY, Life, Piece, Way};
use crate::tape::monotonic_ns;

/// The client's life, until it is told to end.
pub(super) fn client(kind: Kind, server: &PrivateServer) -> Life {
    let app = match kind {
        Kind::Alsa => App::Arecord,
        _ => App::Parec,
    };
    let way = Way::to(server);
    // Two of one kind must not write into one file.
    static LISTENERS: AtomicU64 = AtomicU64::new(0);
    let listener = LISTENERS.fetch_add(1, Ordering::Relaxed);
    Box::new(move |log, ended| {
        let mut number = 0;
        while !ended.load(Ordering::Acquire) {
            number += 1;
            let wanted = Wanted {
                name: format!("listener-{listener}-{number}"),
                device: (kind == Kind::Alsa).then(|| VIRTUAL_MIC.to_owned()),
                channels: 1,
                rate: 48_000,
                format: Format::F32,
            };
            if let Ok(mut recording) =
                app.record_with(way.command(app.program()), &wanted, &way.directory)
            {
                log.connected();
                let mut reader = Reader::default();
                let mut heard = Instant::now();
                loop {
                    let given_up = heard.elapsed() > GIVEN_UP_AFTER;
                    log.given_up(given_up);
                    let last = ended.load(Ordering::Acquire) || recording.ended() || given_up;
                    if let Some(piece) = reader.read_on(recording.file()) {
                        log.push([piece]);
                        heard = Instant::now();
                    }
                    if last {
                        break;
                    }
                    thread::sleep(LOOK_EVERY);
                }
                // It has been read.
                let _ = fs::remove_file(recording.file());
            }
            if !ended.load(Ordering::Acquire) {
                thread::sleep(AGAIN_AFTER);
            }
        }
    })
}

/// Reads samples from a file that grows.
#[derive(Default)]
struct Reader {
    file: Option<File>,
    /// Bytes of a sample that is not complete yet.
    rest: Vec<u8>,
}

impl Reader {
    fn read_on(&mut self, path: &std::path::Path) -> Option<Piece> {
        if self.file.is_none() {
            self.file = File::open(path).ok();
        }
        self.file.as_mut()?.read_to_end(&mut self.rest).ok()?;
        let (samples, _) = self.rest.as_chunks::<4>();
        let frames = samples.len();
        if frames == 0 {
            return None;
        }
        let mut sounding = samples.iter().filter(|bytes| **bytes != [0; 4]);
        let piece = Piece {
            at_ns: monotonic_ns(),
            frames: frames as u32,
            nonzero: sounding.clone().count() as u32,
            last: sounding
                .next_back()
                .map_or(0.0, |bytes| f32::from_le_bytes(*bytes)),
        };
        self.rest.drain(..frames * 4);
        Some(piece)
    }
}
