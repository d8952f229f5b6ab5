//! Real browsers on the real daemon: a web page that records the default microphone, and looks at every sample of it, gets
//! sound while live and exact zeros while muted. The browser goes on pulling, even when the page itself has muted, as
//! the study found.
//!
//! A browser keeps some sound in buffers of its own, and a page cannot see the graph's clock. So zeros are asked for from
//! the moment on when these buffers have run dry, which may take [`SETTLED_WITHIN`] of sound and not more.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, getpgid};
use truemute::protocol::{Behaviour, ClientStats, GateState};
use truemute_core::observed::{Api, ClientState, CountedBy, Identity, Purpose};
use truemute_pipewire::rehearsal::Signal;
use truemute_tests::browser::{Browser, RunningBrowser};
use truemute_tests::page::{Page, Recording, Window};
use truemute_tests::stage::{LIMIT, Scene, Stage};

/// Seconds of sound in which everything must be as it should, in each state.
const STRETCH: f64 = 1.5;
/// Seconds of sound that a browser may still have in its own buffers when the mute is acknowledged.
const SETTLED_WITHIN: f64 = 1.0;
/// How often the daemon is asked.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A browser may take this long to start and to open the microphone on a loaded machine.
const START: Duration = Duration::from_secs(60);

#[test]
fn chromium_gets_exact_zeros_while_muted_and_goes_on_pulling() {
    check(Browser::Chromium, "chromium", "Chromium input");
}

#[test]
fn firefox_gets_exact_zeros_while_muted_and_goes_on_pulling() {
    check(Browser::Firefox, "firefox-esr", "Firefox");
}

fn check(browser: Browser, app: &str, stream: &str) {
    if !browser.is_there() {
        return;
    }
    let scene = Scene {
        signals: vec![Signal::Noise { seed: 1 }],
        ..Scene::default()
    };
    let stage = Stage::set(&scene).expect("this machine's own server");
    let page = Page::serve().expect("a free port");
    let running = browser.open(&stage.server, &page.url());
    let set = Set {
        stage: &stage,
        page: &page,
        browser: &running,
    };
    println!("{}", browser.version(&stage.server));

    // Muted from the start: nothing is to be heard, not even at first.
    let first = set.wait(START, |it| trailing(it, 0, zeros) >= STRETCH);
    assert!(first.windows.iter().all(silent), "{:?}", first.windows);
    println!("the page sees {:?} at {} Hz", first.label, first.rate);

    stage.unmute();
    set.live(|| {
        set.all_from(page.order(true), sounding)?;
        set.keeps_pulling("live", GateState::Live)
    });
    // The page's own mute: the page gets nothing, the browser goes on.
    set.live(|| {
        set.all_from(page.order(false), silent)?;
        set.keeps_pulling("muted by the page", GateState::Live)
    });
    set.live(|| {
        set.all_from(page.order(true), sounding)?;
        stage.mute().reply.changed.then_some(())
    });
    let muted = page.order(true);
    set.all_from(muted, zeros).expect("muted by the test");
    set.keeps_pulling("muted by TrueMute", GateState::Muted)
        .expect("muted by the test");
    let client = set.pulls_continuously();
    let until_unmute = page.recording().expect("the page goes on").expect("still");
    set.settled(&until_unmute, muted);
    assert!(!until_unmute.ended, "the browser gave up the microphone");
    println!("track.muted is {} while muted", until_unmute.muted);

    stage.unmute();
    set.live(|| set.all_from(page.order(true), sounding));

    // The app's name is that of its executable; the stream's is the browser's own word.
    assert_eq!(
        (client.who.app.as_str(), client.who.stream.as_str()),
        (app, stream)
    );
    assert_eq!(client.who.api, Api::Pulse);
    assert_eq!(client.who.identity, Identity::Corroborated, "{client:?}");
    assert_eq!(client.who.purpose, Purpose::Recording);
    assert_eq!(client.state, ClientState::Running);
    assert_eq!(client.counted_by, CountedBy::ActivationRecord);
    let puller = client.who.puller.as_ref().expect("somebody pulled");
    assert_eq!(puller.name, "pipewire-pulse");
    assert!(stage.server.process_ids().contains(&puller.pid));
    let executable = client.who.executable.as_ref().expect("it is known");
    assert_eq!(executable.file_name(), Some(browser.program().as_ref()));
    let pid = client
        .who
        .pid
        .and_then(|pid| Pid::from_raw(pid.cast_signed()));
    assert_eq!(getpgid(pid), getpgid(Some(running.pid())), "{client:?}");
}

struct Set<'a> {
    stage: &'a Stage,
    page: &'a Page,
    browser: &'a RunningBrowser,
}

impl Set<'_> {
    fn wait(&self, limit: Duration, condition: impl FnMut(&Recording) -> bool) -> Recording {
        self.page
            .wait_for(limit, condition)
            .unwrap_or_else(|error| self.fail(&error))
    }

    /// Plays `phase`, which needs the gate live, until it goes through: on a loaded machine the daemon can fail to renew
    /// its lease in time, and then it mutes.
    fn live<T>(&self, phase: impl Fn() -> Option<T>) -> T {
        const TIMES: u32 = 5;
        for _ in 0..TIMES {
            if let Some(outcome) = phase() {
                return outcome;
            }
            println!("once more, for the lease ran out");
            self.stage.unmute();
        }
        self.fail(&format!("the lease ran out {TIMES} times"))
    }

    fn lease_ran_out(&self) -> bool {
        let status = self.stage.daemon.status().expect("the daemon answers");
        status.gate == GateState::Muted && status.reason == "lease"
    }

    /// Waits until every window of the last [`STRETCH`] since `order` is as `wanted`; nothing if the lease ran out.
    fn all_from(&self, order: u32, wanted: fn(&Window) -> bool) -> Option<()> {
        let mut ran_out = false;
        self.wait(LIMIT, |it| {
            let held = trailing(it, order, wanted) >= STRETCH;
            ran_out = !held && self.lease_ran_out();
            held || ran_out
        });
        (!ran_out).then_some(())
    }

    /// Since `order` there was sound only at the very start, which the browser had already; then never again.
    fn settled(&self, recording: &Recording, order: u32) {
        let since: Vec<_> = windows_from(recording, order).copied().collect();
        let last = since.iter().rposition(|window| !silent(window));
        let heard = seconds(&since[..last.map_or(0, |last| last + 1)], recording.rate);
        println!("the last sound came {heard:.3} s after the mute");
        assert!(heard <= SETTLED_WITHIN, "{since:?}");
    }

    /// The browser's stream makes another [`STRETCH`] of pulls in this state of the gate. While muted all are silent; while live
    /// a few can be: those of cycles in which a busy machine was without its block of the mic. Nothing if the lease ran out.
    fn keeps_pulling(&self, what: &str, gate: GateState) -> Option<()> {
        let figures = |it: &ClientStats| match gate {
            GateState::Live => it.live,
            GateState::Muted => it.muted,
        };
        let (before, since) = (self.client(), Instant::now());
        let wanted = figures(&before).seconds + STRETCH;
        let held = self.client_until(|now| figures(now).seconds >= wanted || self.lease_ran_out());
        let now =
            held.unwrap_or_else(|now| self.fail(&format!("{what}: {before:?} became {now:?}")));
        if self.lease_ran_out() {
            return None;
        }
        let both = |it: &ClientStats| it.live.pulls + it.muted.pulls;
        let pulls = figures(&now).pulls - figures(&before).pulls;
        let other = both(&now) - both(&before) - pulls;
        let allowed = match gate {
            GateState::Live => pulls / 20,
            GateState::Muted => 0,
        };
        assert!(other <= allowed, "{what}: {before:?} became {now:?}");
        println!(
            "{what}: {:.1} pulls per second of {:.1} frames",
            pulls as f64 / since.elapsed().as_secs_f64(),
            (figures(&now).frames - figures(&before).frames) as f64 / pulls as f64
        );
        Some(())
    }

    /// Waits until the browser's first moments, before it pulled at all, are a small enough part of its time muted.
    fn pulls_continuously(&self) -> Box<ClientStats> {
        let held = self.client_until(|now| now.behaviour_while_muted == Behaviour::Continuous);
        held.unwrap_or_else(|now| self.fail(&format!("{now:?}")))
    }

    /// The client as soon as it fulfils `condition`; or as it was in the end, if it never did.
    fn client_until(
        &self,
        condition: impl Fn(&ClientStats) -> bool,
    ) -> Result<Box<ClientStats>, Box<ClientStats>> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let now = Box::new(self.client());
            match condition(&now) {
                true => return Ok(now),
                false if Instant::now() >= deadline => return Err(now),
                // To ask all the time would load the machine.
                false => thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// The only client there is.
    fn client(&self) -> ClientStats {
        let mut clients = self.stage.daemon.clients().expect("the daemon answers");
        assert_eq!(clients.clients.len(), 1, "{:?}", clients.clients);
        clients.clients.remove(0)
    }

    fn fail(&self, error: &str) -> ! {
        panic!("{error}\n{}\n{}", self.browser.log(), self.stage.logs())
    }
}

fn silent(window: &Window) -> bool {
    window.nonzero == 0
}

/// Silent, and the page did get samples: a browser may also give it none.
fn zeros(window: &Window) -> bool {
    silent(window) && window.samples >= window.frames
}

/// The noise has no zero; some may come of the browser's own resampling.
fn sounding(window: &Window) -> bool {
    window.nonzero * 10 > window.samples * 9 && window.samples >= window.frames
}

fn windows_from(recording: &Recording, order: u32) -> impl DoubleEndedIterator<Item = &Window> {
    let since = move |window: &&Window| window.order >= order;
    recording.windows.iter().filter(since)
}

/// Seconds of sound at the end of the recording, since `order`, whose windows are all as `wanted`.
fn trailing(recording: &Recording, order: u32, wanted: fn(&Window) -> bool) -> f64 {
    let windows = windows_from(recording, order).rev();
    let frames: u64 = windows
        .take_while(|window| wanted(window))
        .map(|window| window.frames)
        .sum();
    frames as f64 / recording.rate
}

fn seconds(windows: &[Window], rate: f64) -> f64 {
    windows.iter().map(|window| window.frames).sum::<u64>() as f64 / rate
}
