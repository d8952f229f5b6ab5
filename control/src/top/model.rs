//! What `truemute top` knows, and what it makes of news and keys. Nothing here draws, waits, or talks to a daemon, so
//! that every situation can be tested.
//!
//! A state counts as known only while the daemon goes on reporting: a closed connection, a daemon that falls silent and
//! lost lines all make it unknown at once, and the old state is forgotten.

use std::time::{Duration, Instant};

use super::rates::Rates;
use crate::protocol::{ErrorObject, GateState, Stats, Status, Switched, WatchEvent};
use crate::report::words::Shown;

/// Time between two `counts` events that `top` asks for, in milliseconds.
pub(super) const INTERVAL_MS: u32 = 500;

/// After so much silence a daemon does not count as answering. Four intervals: a busy machine may delay one.
pub(super) const SILENCE: Duration = Duration::from_millis(4 * INTERVAL_MS as u64);

/// How long the reply to a key stays on the screen.
const REPLY: Duration = Duration::from_secs(8);

/// Something that happened outside.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// The daemon reported.
    Event(Box<WatchEvent>),
    /// There is no connection; why not.
    Gone(String),
    /// What came of [`Ask::Switch`].
    Reply(Result<Switched, ErrorObject>),
    /// A key.
    Key(Key),
    /// The terminal has another size.
    Resized,
    /// The process was told to end.
    End,
}

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Switch,
    Up,
    Down,
    PageUp,
    PageDown,
    SortLeft,
    SortRight,
    Reverse,
    Help,
    Quit,
}

/// What the model wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Command this state. Never `toggle`: the person saw a state and asked for the other one, which must not turn
    /// round if somebody else was quicker.
    Switch(GateState),
    /// Give up this connection and begin a new one, whose first line is the full state.
    Reconnect,
    /// End.
    Quit,
}

/// By what the rows are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    App,
    State,
    LiveRate,
    MutedRate,
    Frames,
    LastPull,
}

impl Sort {
    pub(super) const ALL: [Sort; 6] = [
        Sort::App,
        Sort::State,
        Sort::LiveRate,
        Sort::MutedRate,
        Sort::Frames,
        Sort::LastPull,
    ];

    fn moved(self, by: isize) -> Self {
        let at = Self::ALL.iter().position(|&sort| sort == self).unwrap_or(0);
        let count = Self::ALL.len() as isize;
        Self::ALL[((at as isize + by).rem_euclid(count)) as usize]
    }

    /// Names from A, figures from the largest.
    fn descends(self) -> bool {
        !matches!(self, Sort::App | Sort::State)
    }
}

/// What is known of the daemon.
#[derive(Clone, Debug)]
enum Link {
    /// It was not reached yet, or is being reached again.
    Connecting,
    /// It reports; when it last did.
    Up { heard: Instant },
    /// It does not answer; what is known of why.
    Gone(String),
}

/// What `top` knows.
#[derive(Clone, Debug)]
pub(super) struct Model {
    link: Link,
    status: Option<Status>,
    stats: Option<Stats>,
    rates: Rates,
    reconnecting: bool,
    reply: Option<(Instant, Result<Switched, ErrorObject>)>,
    waiting: bool,
    sort: Sort,
    descending: bool,
    first_row: usize,
    help: bool,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            link: Link::Connecting,
            status: None,
            stats: None,
            rates: Rates::default(),
            reconnecting: false,
            reply: None,
            waiting: false,
            sort: Sort::MutedRate,
            descending: true,
            first_row: 0,
            help: false,
        }
    }

    /// Takes in `news` that came at `now`.
    pub(super) fn update(&mut self, news: News, now: Instant) -> Option<Ask> {
        match news {
            News::Event(event) => return self.event(*event, now),
            News::Gone(why) => {
                self.reconnecting = false;
                self.forget(Link::Gone(why));
            }
            News::Reply(reply) => {
                self.waiting = false;
                self.reply = Some((now, reply));
            }
            News::Key(key) => return self.key(key),
            News::Resized => {}
            News::End => return Some(Ask::Quit),
        }
        None
    }

    /// Lets time pass. True if the screen has to say something else now.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        if let Link::Up { heard } = self.link
            && now.duration_since(heard) >= SILENCE
        {
            let seconds = SILENCE.as_secs();
            self.forget(Link::Gone(format!(
                "the daemon is connected but said nothing for {seconds} s"
            )));
            return true;
        }
        if self
            .reply
            .as_ref()
            .is_some_and(|(at, _)| now.duration_since(*at) >= REPLY)
        {
            self.reply = None;
            return true;
        }
        false
    }

    fn event(&mut self, event: WatchEvent, now: Instant) -> Option<Ask> {
        match event {
            WatchEvent::State(status) => {
                self.link = Link::Up { heard: now };
                self.reconnecting = false;
                self.status = Some(status);
                None
            }
            WatchEvent::Counts(stats) if self.status.is_some() => {
                self.link = Link::Up { heard: now };
                self.rates.add(&stats);
                self.stats = Some(stats);
                None
            }
            // The daemon was silent for a while and goes on: the state from before does not come again by itself.
            WatchEvent::Counts(_) => self.reconnect(),
            // A change of the state may be among the lost lines.
            WatchEvent::Lost { .. } => self.reconnect(),
        }
    }

    /// A new connection begins with the full state. Asked for once, however many lines of the old one still come.
    fn reconnect(&mut self) -> Option<Ask> {
        self.forget(Link::Connecting);
        (!std::mem::replace(&mut self.reconnecting, true)).then_some(Ask::Reconnect)
    }

    /// The state is unknown from here on.
    fn forget(&mut self, link: Link) {
        self.link = link;
        self.status = None;
        self.stats = None;
        self.rates = Rates::default();
    }

    fn key(&mut self, key: Key) -> Option<Ask> {
        let page = 10;
        match key {
            Key::Switch if self.waiting => {}
            Key::Switch => {
                self.waiting = true;
                self.reply = None;
                // While the state is unknown, the only safe thing to ask for is silence.
                return Some(Ask::Switch(match self.shown() {
                    Shown::Muted => GateState::Live,
                    Shown::Live | Shown::Unknown => GateState::Muted,
                }));
            }
            Key::Up => self.first_row = self.first_row.saturating_sub(1),
            Key::Down => self.first_row += 1,
            Key::PageUp => self.first_row = self.first_row.saturating_sub(page),
            Key::PageDown => self.first_row += page,
            Key::SortLeft => self.sort_by(self.sort.moved(-1)),
            Key::SortRight => self.sort_by(self.sort.moved(1)),
            Key::Reverse => self.descending = !self.descending,
            Key::Help => self.help = !self.help,
            Key::Quit if self.help => self.help = false,
            Key::Quit => return Some(Ask::Quit),
        }
        let last = self
            .stats
            .as_ref()
            .map_or(0, |stats| stats.clients.len().saturating_sub(1));
        self.first_row = self.first_row.min(last);
        None
    }

    fn sort_by(&mut self, sort: Sort) {
        self.sort = sort;
        self.descending = sort.descends();
    }

    /// The one thing that nobody may misread.
    pub(super) fn shown(&self) -> Shown {
        match (&self.link, &self.status) {
            (Link::Up { .. }, Some(status)) => status.gate.into(),
            _ => Shown::Unknown,
        }
    }

    /// The full state, while it is known.
    pub(super) fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// Why the state is unknown.
    pub(super) fn trouble(&self) -> &str {
        match &self.link {
            Link::Gone(why) => why,
            Link::Connecting | Link::Up { .. } => "asking the daemon",
        }
    }

    /// Whether the daemon is known not to answer (and not just about to be asked).
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.link, Link::Gone(_))
    }

    pub(super) fn stats(&self) -> Option<&Stats> {
        self.stats.as_ref()
    }

    pub(super) fn rates(&self) -> &Rates {
        &self.rates
    }

    pub(super) fn reply(&self) -> Option<&Result<Switched, ErrorObject>> {
        self.reply.as_ref().map(|(_, reply)| reply)
    }

    /// Whether a command is under way.
    pub(super) fn waiting(&self) -> bool {
        self.waiting
    }

    pub(super) fn sort(&self) -> (Sort, bool) {
        (self.sort, self.descending)
    }

    pub(super) fn first_row(&self) -> usize {
        self.first_row
    }

    pub(super) fn help(&self) -> bool {
        self.help
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn event(event: WatchEvent) -> News {
        News::Event(Box::new(event))
    }

    fn told(status: Status, now: Instant) -> Model {
        let mut model = Model::new();
        model.update(event(WatchEvent::State(status)), now);
        model
    }

    #[test]
    fn unknown_until_the_daemon_has_spoken() {
        let now = Instant::now();
        let mut model = Model::new();
        assert_eq!(model.shown(), Shown::Unknown);
        model.update(event(WatchEvent::Counts(samples::stats())), now);
        assert_eq!(
            model.shown(),
            Shown::Unknown,
            "counts do not tell the state"
        );
        model.update(event(WatchEvent::State(samples::live())), now);
        assert_eq!(model.shown(), Shown::Live);
        model.update(event(WatchEvent::State(samples::muted())), now);
        assert_eq!(model.shown(), Shown::Muted);
    }

    #[test]
    fn a_lost_daemon_makes_the_state_unknown_at_once() {
        let now = Instant::now();
        let mut model = told(samples::muted(), now);
        model.update(News::Gone("connection closed".into()), now);
        assert_eq!(model.shown(), Shown::Unknown);
        assert!(model.status().is_none() && model.stats().is_none());
        model.update(event(WatchEvent::Counts(samples::stats())), now);
        assert_eq!(
            model.shown(),
            Shown::Unknown,
            "the old state does not come back without a state line"
        );
    }

    #[test]
    fn a_hung_daemon_makes_the_state_unknown() {
        let now = Instant::now();
        let mut model = told(samples::muted(), now);
        assert!(!model.tick(now + SILENCE - Duration::from_millis(1)));
        assert_eq!(model.shown(), Shown::Muted);
        assert!(model.tick(now + SILENCE));
        assert_eq!(model.shown(), Shown::Unknown);
    }

    #[test]
    fn a_daemon_that_goes_on_after_a_pause_is_asked_anew_once() {
        let now = Instant::now();
        let mut model = told(samples::muted(), now);
        model.tick(now + SILENCE);
        let counts = || event(WatchEvent::Counts(samples::stats()));
        assert_eq!(model.update(counts(), now), Some(Ask::Reconnect));
        assert_eq!(model.update(counts(), now), None);
        assert_eq!(model.shown(), Shown::Unknown);
        model.update(event(WatchEvent::State(samples::live())), now);
        assert_eq!(model.shown(), Shown::Live);
    }

    #[test]
    fn lost_lines_make_the_state_unknown_and_ask_anew() {
        let now = Instant::now();
        let mut model = told(samples::live(), now);
        assert_eq!(
            model.update(event(WatchEvent::Lost { lines: 1 }), now),
            Some(Ask::Reconnect)
        );
        assert_eq!(model.shown(), Shown::Unknown);
    }

    #[test]
    fn m_asks_for_the_other_state_of_the_one_on_the_screen() {
        let now = Instant::now();
        let switch = News::Key(Key::Switch);
        let asked = |mut model: Model| model.update(switch.clone(), now);
        assert_eq!(
            asked(told(samples::live(), now)),
            Some(Ask::Switch(GateState::Muted))
        );
        assert_eq!(
            asked(told(samples::muted(), now)),
            Some(Ask::Switch(GateState::Live))
        );
        assert_eq!(asked(Model::new()), Some(Ask::Switch(GateState::Muted)));
    }

    #[test]
    fn m_waits_for_the_reply_before_it_asks_again() {
        let now = Instant::now();
        let mut model = told(samples::live(), now);
        assert!(model.update(News::Key(Key::Switch), now).is_some());
        assert_eq!(model.update(News::Key(Key::Switch), now), None);
        let reply = samples::switched_at(GateState::Muted, Some(7));
        model.update(News::Reply(Ok(reply)), now);
        assert!(model.reply().is_some());
        assert!(model.tick(now + Duration::from_secs(1)) || model.reply().is_some());
        assert!(model.update(News::Key(Key::Switch), now).is_some());
    }

    #[test]
    fn a_reply_goes_after_a_while() {
        let now = Instant::now();
        let mut model = Model::new();
        model.update(
            News::Reply(Ok(samples::switched_at(GateState::Muted, None))),
            now,
        );
        assert!(model.tick(now + REPLY));
        assert!(model.reply().is_none());
    }

    #[test]
    fn scrolling_stays_within_the_rows() {
        let now = Instant::now();
        let mut model = told(samples::live(), now);
        model.update(event(WatchEvent::Counts(samples::many(3))), now);
        for _ in 0..9 {
            model.update(News::Key(Key::Down), now);
        }
        assert_eq!(model.first_row(), 2);
        model.update(News::Key(Key::PageUp), now);
        assert_eq!(model.first_row(), 0);
    }

    #[test]
    fn q_closes_the_help_first() {
        let now = Instant::now();
        let mut model = Model::new();
        model.update(News::Key(Key::Help), now);
        assert_eq!(model.update(News::Key(Key::Quit), now), None);
        assert_eq!(model.update(News::Key(Key::Quit), now), Some(Ask::Quit));
    }
}
