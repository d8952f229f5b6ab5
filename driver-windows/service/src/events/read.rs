//! The agent's end of the service's pipe: a thread reads lines, and keeps the events until they are asked for. Where there is no
//! service it tries again from time to time, and says that nothing is heard.

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::{Events, Heard, Line, SCHEMA};

/// How long after it failed the service is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Events that wait to be asked for at most.
const MOST: usize = 65_536;

/// The longest line that is read: 256 events need a tenth.
const LONGEST: u64 = 1 << 20;

/// Where the service is.
pub trait Dials: Send + Sync {
    /// A connection. Its reads fail when nothing came for some seconds.
    ///
    /// # Errors
    /// There is no service, or it is not one that can be trusted.
    fn dial(&self) -> io::Result<Box<dyn Read + Send>>;
}

/// The service's events. Dropping it ends the thread that reads, after its next line.
#[derive(Debug)]
pub struct FromService(Arc<Mutex<Heard>>);

impl FromService {
    /// Starts to read.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(service: Box<dyn Dials>) -> io::Result<Self> {
        let heard = Arc::<Mutex<Heard>>::default();
        let weak = Arc::downgrade(&heard);
        thread::Builder::new()
            .name("truemute-events".into())
            .spawn(move || {
                while weak.strong_count() > 0 {
                    // Why it ended says the doctor.
                    if let Ok(stream) = service.dial() {
                        let _ = follow(stream, &weak);
                        if let Some(heard) = weak.upgrade() {
                            lock(&heard).hears = false;
                        }
                    }
                    thread::sleep(AGAIN);
                }
            })?;
        Ok(Self(heard))
    }
}

impl Events for FromService {
    fn heard(&self) -> Heard {
        let mut heard = lock(&self.0);
        let (hears, beginnings) = (heard.hears, heard.beginnings);
        let next = Heard {
            hears,
            beginnings,
            ..Heard::default()
        };
        std::mem::replace(&mut heard, next)
    }
}

/// One line of the service.
///
/// # Errors
/// It has ended, says nothing, or says what no service of this version says.
pub fn line(lines: &mut BufReader<impl Read>) -> io::Result<Line> {
    let mut text = Vec::new();
    lines.by_ref().take(LONGEST).read_until(b'\n', &mut text)?;
    if text.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line: Line = serde_json::from_slice(&text)?;
    match line.schema {
        SCHEMA => Ok(line),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn follow(stream: Box<dyn Read + Send>, heard: &Weak<Mutex<Heard>>) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let line = line(&mut lines)?;
        let Some(heard) = heard.upgrade() else {
            return Ok(());
        };
        let mut heard = lock(&heard);
        if line.listens && !heard.hears {
            heard.beginnings += 1;
        }
        heard.hears = line.listens;
        heard.lost += line.lost;
        let room = MOST.saturating_sub(heard.events.len());
        heard.lost += line.events.len().saturating_sub(room) as u64;
        heard.events.extend(line.events.into_iter().take(room));
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::decode::tests::{offer, packet};
    use super::super::hub::Hub;
    use super::super::serve::{Accepts, Trace, Traces, serve};
    use super::*;
    use std::io::Write;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Instant;

    /// A trace that says what it is told, and a socket in place of the pipe.
    #[derive(Clone, Default)]
    struct Made {
        hub: Arc<Mutex<Option<Hub>>>,
        fails: Arc<AtomicBool>,
        lost: Arc<AtomicU64>,
        running: Arc<AtomicU64>,
    }

    struct Runs(Made);

    impl Traces for Made {
        fn start(&self, hub: Hub) -> Result<Box<dyn Trace>, String> {
            if self.fails.load(Ordering::SeqCst) {
                return Err("Windows refuses it. Ask it why.".into());
            }
            *self.hub.lock().unwrap() = Some(hub);
            self.running.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(Runs(self.clone())))
        }
    }

    impl Trace for Runs {
        fn lost(&mut self) -> Result<u64, String> {
            Ok(self.0.lost.load(Ordering::SeqCst))
        }
    }

    impl Drop for Runs {
        fn drop(&mut self) {
            self.0.running.fetch_sub(1, Ordering::SeqCst);
        }
    }

    struct Socket(UnixListener, PathBuf, AtomicBool);

    impl Accepts for Socket {
        fn accept(&self) -> io::Result<Box<dyn Write + Send>> {
            let (stream, _) = self.0.accept()?;
            match self.2.load(Ordering::SeqCst) {
                true => Err(io::ErrorKind::ConnectionAborted.into()),
                false => Ok(Box::new(stream)),
            }
        }

        fn close(&self) {
            self.2.store(true, Ordering::SeqCst);
            drop(UnixStream::connect(&self.1));
        }
    }

    struct At(PathBuf);

    impl Dials for At {
        fn dial(&self) -> io::Result<Box<dyn Read + Send>> {
            Ok(Box::new(UnixStream::connect(&self.0)?))
        }
    }

    fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(done) = done() {
                return done;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn events_go_from_the_trace_to_the_agent_with_what_was_lost_and_only_while_somebody_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let made = Made::default();
        let agent = FromService::start(Box::new(At(path.clone()))).unwrap();
        assert_eq!(agent.heard(), Heard::default(), "there is no service");

        let listener = UnixListener::bind(&path).unwrap();
        let socket = Arc::new(Socket(listener, path.clone(), AtomicBool::new(false)));
        let (stop, stopped) = channel();
        let service = thread::spawn({
            let (made, socket) = (made.clone(), socket.clone());
            move || serve(&made, socket, &stopped)
        });
        until("it is heard", || agent.heard().hears.then_some(()));
        let hub = until("the trace", || made.hub.lock().unwrap().clone());
        let sent = [offer(900, 1, 70_001), packet(900, 1, 480)];
        sent.iter().for_each(|event| hub.tell(event));
        made.lost.store(3, Ordering::SeqCst);
        let mut got = Heard::default();
        until("both events and the loss", || {
            let heard = agent.heard();
            got.events.extend(heard.events);
            got.lost += heard.lost;
            got.beginnings = heard.beginnings;
            (got.events.len() == 2 && got.lost == 3).then_some(())
        });
        assert_eq!(got.events, sent);
        assert_eq!(got.beginnings, 1);
        // Nobody reads any more: the trace ends, and begins with the next reader.
        drop(agent);
        until("the end of the trace", || {
            (made.running.load(Ordering::SeqCst) == 0).then_some(())
        });
        made.fails.store(true, Ordering::SeqCst);
        let stream = UnixStream::connect(&path).unwrap();
        let mut lines = BufReader::new(stream);
        let why = until("why not", || line(&mut lines).unwrap().trouble);
        assert!(why.starts_with("Windows refuses"), "{why}");
        drop(stop);
        service.join().unwrap();
        until("the last line", || line(&mut lines).is_err().then_some(()));
    }

    #[test]
    fn a_reader_that_does_not_read_loses_and_is_told_how_much() {
        let hub = Hub::default();
        let (mut near, far) = UnixStream::pair().unwrap();
        let serving = thread::spawn({
            let hub = hub.clone();
            move || drop(hub.serve(&mut near))
        });
        until("a reader", || (hub.readers() == 1).then_some(()));
        let event = offer(900, 1, 70_001);
        const SENT: u64 = 60_000;
        (0..SENT).for_each(|_| hub.tell(&event));
        let mut lines = BufReader::new(far);
        let (mut came, mut lost) = (0, 0);
        let began = Instant::now();
        while came + lost < SENT {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{came} and {lost}"
            );
            let line = line(&mut lines).unwrap();
            came += line.events.len() as u64;
            lost += line.lost;
        }
        assert_eq!(came + lost, SENT);
        assert!(lost > 0 && came > 0, "{came} came, {lost} were lost");
        hub.end();
        serving.join().unwrap();
        assert_eq!(hub.readers(), 0);
    }

    #[test]
    fn what_no_service_says_is_refused() {
        for text in [
            "{}\n",
            "{\"schema\":2,\"events\":[],\"lost\":0,\"listens\":true}\n",
            "{\"schema\":1,\"events\":[],\"lost\":0,\"listens\":true,\"more\":1}\n",
            "{\"schema\":1,\"events\":[],\"lost\":0,\"listens\":true}",
            "",
        ] {
            assert!(
                line(&mut BufReader::new(text.as_bytes())).is_err(),
                "{text}"
            );
        }
        let good = "{\"schema\":1,\"events\":[],\"lost\":0,\"listens\":true}\n";
        assert!(line(&mut BufReader::new(good.as_bytes())).is_ok());
    }
}
