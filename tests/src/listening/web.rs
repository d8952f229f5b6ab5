//! Chromium with a page that records the default microphone, and opens it again when the browser ends the track.

use std::sync::atomic::Ordering;
use std::thread;

use truemute_pipewire::rehearsal::PrivateServer;

use super::{LOOK_EVERY, Life, Piece};
use crate::browser::Browser;
use crate::page::{Page, Window};
use crate::tape::monotonic_ns;

/// The client's life, until it is told to end.
///
/// # Panics
/// If the browser cannot be started.
pub(super) fn client(server: &PrivateServer) -> Life {
    let page = Page::serve().expect("a free port");
    let browser = Browser::Chromium.open(server, &page.url_that_opens_again());
    Box::new(move |log, ended| {
        let (mut seen, mut connections) = (0, 0);
        while !ended.load(Ordering::Acquire) {
            let (new, opened) = page.windows_from(seen);
            seen += new.len();
            let at_ns = monotonic_ns();
            log.push(new.iter().map(|window| piece(window, at_ns)));
            for _ in connections..opened {
                log.connected();
            }
            connections = opened;
            thread::sleep(LOOK_EVERY);
        }
        drop(browser);
    })
}

fn piece(window: &Window, at_ns: u64) -> Piece {
    Piece {
        at_ns,
        frames: window.frames as u32,
        nonzero: window.nonzero as u32,
        // NaN is not silence.
        last: window.last.map_or(f32::NAN, |last| last as f32),
    }
}
