//! Chromium with a page that records the default microphone, and opens it again when the browser ends the track. When even
//! that does not help, the browser is started anew.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use truemute_pipewire::rehearsal::PrivateServer;

use super::{GIVEN_UP_AFTER, LOOK_EVERY, Life, Piece, Way};
use crate::browser::Browser;
use crate::page::{Page, Window};
use crate::tape::monotonic_ns;

const BROWSER: Browser = Browser::Chromium;
/// A browser may take this long to start and to open the microphone on a loaded machine.
const STARTED_WITHIN: Duration = Duration::from_secs(40);

/// The client's life, until it is told to end.
///
/// # Panics
/// If the browser cannot be started.
pub(super) fn client(server: &PrivateServer) -> Life {
    let way = Way::to(server);
    let page = Page::serve().expect("a free port");
    Box::new(move |log, ended| {
        let (mut seen, mut connections, mut browsers) = (0, 0, 0);
        while !ended.load(Ordering::Acquire) {
            browsers += 1;
            let profile = way.directory.join(format!("chromium-{browsers}"));
            let command = way.command(BROWSER.program());
            let browser = BROWSER.open_with(command, &profile, &page.url_that_opens_again());
            let mut heard = None::<Instant>;
            let started = Instant::now();
            // It takes its time to start; that is no silence.
            let silent = |heard: Option<Instant>| match heard {
                Some(heard) => heard.elapsed() > 2 * GIVEN_UP_AFTER,
                None => started.elapsed() > STARTED_WITHIN,
            };
            while !ended.load(Ordering::Acquire) && !silent(heard) {
                let (new, opened) = page.windows_from(seen);
                seen += new.len();
                let at_ns = monotonic_ns();
                if !new.is_empty() {
                    heard = Some(Instant::now());
                }
                log.push(new.iter().map(|window| piece(window, at_ns)));
                // A browser that was started anew counts from 1 again.
                for _ in connections..opened {
                    log.connected();
                }
                connections = opened;
                thread::sleep(LOOK_EVERY);
            }
            log.given_up(!ended.load(Ordering::Acquire));
            drop(browser);
        }
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
