//! One connection: reads requests, answers them in order, follows `watch` and `trace`. Runs on a thread of its own.

use std::io::{self, BufWriter, Write as _};
use std::time::{Duration, Instant};

use super::connections::Seat;
use super::lines::{self, Line, MAX_LINE};
use super::parse::parse_line;
use super::socket::Peer;
use crate::daemon::feed::{Feed, Item, Note, Quiet, Topic};
use crate::daemon::{Handle, Want};
use crate::lock::Verdict;
use crate::protocol::{
    Answer, Call, ErrorCode, ErrorObject, Following, Outcome, Reply, RequestId, SCHEMA, WatchEvent,
    WatchParams,
};
use crate::system::{self, NO_AUTHORITY, Stream, has_gone};
use crate::trace::{Lines, Next};

/// Requests a second that one connection may send, and as many in one burst.
pub const RATE: u32 = 200;

/// Pause before the answer to a request beyond the rate, so that a flood is answered no faster than it is allowed.
const FLOOD_PAUSE: Duration = Duration::from_millis(50);

/// How long the peer may leave an answer untaken before its connection is closed, so that nobody holds one by not reading. A
/// follower may take its time (`truemute watch | less`): what it misses is counted, and followers are few.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// How often a silent follower's connection is checked.
const FOLLOW_CHECK: Duration = Duration::from_millis(250);

/// Serves the connection until it ends.
pub(super) fn serve(stream: &Stream, daemon: &Handle, seat: &Seat) {
    if stream.set_write_timeout(Some(TAKEN_WITHIN)).is_err() {
        return;
    }
    let mut lines = lines::Lines::new(stream);
    let mut rate = Bucket::new();
    loop {
        let line = lines.next();
        seat.busy(true);
        let served = match line {
            Line::End => return,
            Line::Half => {
                let error = bad_line("The last line did not end in time, or at all.");
                let _ = send(stream, &error_reply(None, error));
                return;
            }
            Line::TooLong => send(stream, &error_reply(None, too_long())),
            Line::Whole(_) if !rate.take() => {
                std::thread::sleep(FLOOD_PAUSE);
                send(stream, &error_reply(None, too_many("requests a second")))
            }
            Line::Whole(line) => match parse_line(&line) {
                (id, Err(error)) => send(stream, &error_reply(id, error)),
                (id, Ok(Call::Watch(params))) => {
                    return follow_watch(stream, daemon, seat, id, &params);
                }
                (id, Ok(Call::Trace)) => return follow_trace(stream, daemon, seat, id),
                (id, Ok(Call::Lock)) => send(stream, &reply(id, lock(stream, daemon))),
                (id, Ok(Call::Unlock)) => send(stream, &reply(id, unlock(stream, daemon))),
                (id, Ok(call)) => send(stream, &reply(id, answer(daemon, call))),
            },
        };
        if served.is_err() {
            return;
        }
        seat.busy(false);
    }
}

fn answer(daemon: &Handle, call: Call) -> Result<Answer, ErrorObject> {
    match call {
        Call::Status => daemon.status().map(Answer::Status),
        Call::Mute(by) => daemon.switch(Want::Mute, by.origin).map(Answer::Switched),
        Call::Unmute(by) => daemon.switch(Want::Unmute, by.origin).map(Answer::Switched),
        Call::Toggle(by) => daemon.switch(Want::Toggle, by.origin).map(Answer::Switched),
        Call::MuteClient(of) => daemon
            .switch_app(of.client, true, of.origin)
            .map(Answer::AppSwitched),
        Call::UnmuteClient(of) => daemon
            .switch_app(of.client, false, of.origin)
            .map(Answer::AppSwitched),
        Call::Clients => Ok(Answer::Stats(daemon.clients())),
        Call::Stats(params) => {
            let since = params.since.as_deref().and_then(|since| since.parse().ok());
            daemon.stats(since).map(Answer::Stats)
        }
        Call::Watch(_) | Call::Trace | Call::Lock | Call::Unlock => {
            unreachable!("done by the caller")
        }
    }
}

/// Locks, but not where nobody could unlock.
fn lock(stream: &Stream, daemon: &Handle) -> Result<Answer, ErrorObject> {
    match authority(stream, false)? {
        Verdict::Granted | Verdict::Denied => daemon.lock(true).map(Answer::Locked),
        Verdict::Nobody(why) => Err(no_authority(&why)),
    }
}

/// Unlocks if the authority lets the process at the other end. Only this connection waits for the user.
fn unlock(stream: &Stream, daemon: &Handle) -> Result<Answer, ErrorObject> {
    let status = daemon.status()?;
    let by_policy = status.forced.iter().any(|forced| forced.key == "locked");
    if !status.locked || by_policy {
        return daemon.lock(false).map(Answer::Locked);
    }
    match authority(stream, true)? {
        Verdict::Granted => daemon.lock(false).map(Answer::Locked),
        Verdict::Denied => Err(ErrorObject {
            code: ErrorCode::Locked,
            message: "The lock stays: you were not authenticated.".into(),
            remedy: "Run `truemute unlock` in a terminal of the desktop session that you sit at, and give your password.".into(),
        }),
        Verdict::Nobody(why) => Err(no_authority(&why)),
    }
}

fn authority(stream: &Stream, ask_the_user: bool) -> Result<Verdict, ErrorObject> {
    let failed = |error: io::Error| ErrorObject {
        code: ErrorCode::Failed,
        message: format!("Who asks cannot be told ({error})."),
        remedy: "Try again.".into(),
    };
    let process = Peer::of(stream).map_err(failed)?.process();
    Ok(crate::lock::verdict(
        process,
        system::own_user(),
        ask_the_user,
    ))
}

fn no_authority(why: &str) -> ErrorObject {
    let [what, remedy] = NO_AUTHORITY;
    ErrorObject {
        code: ErrorCode::Failed,
        message: format!("{what} ({why})."),
        remedy: remedy.into(),
    }
}

/// Subscribes and says so, or says why not.
fn begin(
    stream: &Stream,
    daemon: &Handle,
    seat: &Seat,
    id: Option<RequestId>,
    topic: Topic,
) -> Option<Feed> {
    let subscribed = if seat.follow() {
        daemon.subscribe(topic)
    } else {
        Err(too_many("connections that follow"))
    };
    match subscribed {
        Ok(feed) => {
            let following = match topic {
                Topic::Watch => "watch",
                Topic::Trace => "trace",
            };
            let answer = Answer::Following(Following {
                schema: SCHEMA,
                following: following.into(),
            });
            send(stream, &reply(id, Ok(answer))).ok()?;
            stream.set_write_timeout(None).ok()?;
            Some(feed)
        }
        Err(error) => {
            let _ = send(stream, &error_reply(id, error));
            None
        }
    }
}

fn follow_watch(
    stream: &Stream,
    daemon: &Handle,
    seat: &Seat,
    id: Option<RequestId>,
    params: &WatchParams,
) {
    let interval = Duration::from_millis(params.interval_ms.unwrap_or(1000).into());
    if let Some(feed) = begin(stream, daemon, seat, id, Topic::Watch) {
        // The peer has gone, which is how following ends.
        let _ = watch(stream, daemon, &feed, interval);
    }
}

fn follow_trace(stream: &Stream, daemon: &Handle, seat: &Seat, id: Option<RequestId>) {
    if let Some(feed) = begin(stream, daemon, seat, id, Topic::Trace) {
        // The peer has gone, which is how most traces end.
        let _ = trace(stream, Lines::new(feed));
    }
}

fn trace(stream: &Stream, mut lines: Lines) -> io::Result<()> {
    // Tens of thousands of lines a second: they go out in large pieces, and at once when no more are waiting.
    let mut out = BufWriter::with_capacity(MAX_LINE, stream);
    loop {
        let next = match lines.next(Duration::ZERO) {
            Next::Idle => {
                out.flush()?;
                lines.next(FOLLOW_CHECK)
            }
            next => next,
        };
        match next {
            Next::Line(line) => {
                serde_json::to_writer(&mut out, &line)?;
                out.write_all(b"\n")?;
            }
            Next::Idle if has_gone(stream) => return Ok(()),
            Next::Idle => {}
            Next::Over => return out.flush(),
        }
    }
}

fn watch(stream: &Stream, daemon: &Handle, feed: &Feed, interval: Duration) -> io::Result<()> {
    let mut counts_due = None;
    loop {
        let wait = counts_due.map_or(FOLLOW_CHECK, |due: Instant| {
            due.saturating_duration_since(Instant::now())
                .min(FOLLOW_CHECK)
        });
        match feed.next(wait) {
            Ok(Item::Note(Note::State(state))) => {
                send(stream, &WatchEvent::State((*state).clone()))?;
                // The first counts come right after the first state.
                counts_due.get_or_insert_with(Instant::now);
            }
            Ok(Item::Note(_)) => {}
            Ok(Item::Lost(lines)) => {
                send(stream, &WatchEvent::Lost { lines })?;
                if let Ok(status) = daemon.status() {
                    send(stream, &WatchEvent::State(status))?;
                }
            }
            Err(Quiet::Timeout) if has_gone(stream) => return Ok(()),
            Err(Quiet::Timeout) => {}
            Err(Quiet::Closed) => return Ok(()),
        }
        if counts_due.is_some_and(|due| due <= Instant::now()) {
            send(stream, &WatchEvent::Counts(daemon.clients()))?;
            counts_due = Some(Instant::now() + interval);
        }
    }
}

fn send(mut stream: &Stream, message: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn reply(id: Option<RequestId>, answer: Result<Answer, ErrorObject>) -> Reply {
    let outcome = match answer {
        Ok(answer) => Outcome::Result(Box::new(answer)),
        Err(error) => Outcome::Error(error),
    };
    Reply { id, outcome }
}

fn error_reply(id: Option<RequestId>, error: ErrorObject) -> Reply {
    reply(id, Err(error))
}

fn bad_line(message: &str) -> ErrorObject {
    ErrorObject {
        code: ErrorCode::BadRequest,
        message: message.into(),
        remedy: "Send whole lines, each within 5 seconds.".into(),
    }
}

fn too_long() -> ErrorObject {
    ErrorObject {
        code: ErrorCode::TooLong,
        message: format!("The line is longer than {MAX_LINE} bytes."),
        remedy: "Send one request a line.".into(),
    }
}

fn too_many(what: &str) -> ErrorObject {
    ErrorObject {
        code: ErrorCode::TooMany,
        message: format!("There are too many {what}."),
        remedy: "Send less, and try again in a second.".into(),
    }
}

/// Lets [`RATE`] requests a second through, and as many in one burst.
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new() -> Bucket {
        Bucket {
            tokens: RATE.into(),
            at: Instant::now(),
        }
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.at).as_secs_f64() * f64::from(RATE);
        self.at = now;
        self.tokens = (self.tokens + gained).min(RATE.into());
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}
