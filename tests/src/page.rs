//! A web page that records the default microphone and looks at every sample, and the little HTTP server that gives it to
//! a browser, hears its reports and tells it what to do. Only for one browser, on 127.0.0.1 (a secure context).

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How often the page reports, or a little longer.
const REPORTS_EVERY: Duration = Duration::from_millis(20);
/// Larger than any report of the page.
const MOST_BYTES: usize = 1 << 20;

/// Some thousandths of a second of sound, as the page's worklet saw it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Window {
    /// The last order that the page had carried out when it heard of this window.
    pub order: u32,
    /// Frames that it lasted.
    pub frames: u64,
    /// Samples that the page got in it. None at all is another way for a browser to say silence.
    pub samples: u64,
    /// Samples with any bit set.
    pub nonzero: u64,
    /// Largest magnitude. JSON has no number for NaN: `null` then.
    pub peak: Option<f64>,
    /// The last sample with any bit set; 0 if there is none, `null` if it is NaN.
    pub last: Option<f64>,
}

/// What the page says about its recording.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Recording {
    /// The last order that it carried out.
    pub order: u32,
    /// How often it has opened the microphone.
    pub opened: u64,
    /// Everything that came since it began; in one report, what is new.
    pub windows: Vec<Window>,
    /// Sample rate in Hz.
    pub rate: f64,
    /// The microphone's name, as the page is told it.
    pub label: String,
    /// `track.enabled`: false is a page's own mute.
    pub enabled: bool,
    /// `track.muted`: whether the browser says that no sound comes.
    pub muted: bool,
    /// Whether the browser has ended the track.
    pub ended: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    Recording(Recording),
    Failed(String),
}

/// What the page is to do.
#[derive(Clone, Copy, Serialize)]
struct Order {
    order: u32,
    enabled: bool,
}

struct State {
    next: Order,
    recording: Option<Recording>,
    failure: Option<String>,
}

/// The page and its server. Dropping it ends the server.
pub struct Page {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Page {
    /// Serves the page on a free port.
    ///
    /// # Errors
    /// There is none.
    pub fn serve() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            next: Order {
                order: 0,
                enabled: true,
            },
            recording: None,
            failure: None,
        }));
        let ended = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (state, ended) = (state.clone(), ended.clone());
            move || {
                for stream in listener.incoming().flatten() {
                    if ended.load(Ordering::Acquire) {
                        return;
                    }
                    let state = state.clone();
                    // A browser opens several connections and keeps some of them waiting.
                    thread::spawn(move || answer(&stream, &state));
                }
            }
        });
        Ok(Self {
            address,
            state,
            ended,
            thread: Some(thread),
        })
    }

    /// Where the page is.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Where it opens the microphone anew whenever that has failed, ended or fallen quiet.
    pub fn url_that_opens_again(&self) -> String {
        format!("{}?again", self.url())
    }

    /// The windows from number `start` on, and how often the microphone was opened. An error is that of a page that does
    /// not open it again.
    pub fn windows_from(&self, start: usize) -> (Vec<Window>, u64) {
        let state = lock(&self.state);
        state.recording.as_ref().map_or((Vec::new(), 0), |it| {
            (
                it.windows[start.min(it.windows.len())..].to_vec(),
                it.opened,
            )
        })
    }

    /// Sets `track.enabled` (a page's own mute is `false`) and gives the order's number: windows with it or a later one
    /// came after the page had done so.
    pub fn order(&self, enabled: bool) -> u32 {
        let mut state = lock(&self.state);
        state.next.order += 1;
        state.next.enabled = enabled;
        state.next.order
    }

    /// What came so far; nothing before the microphone is open.
    ///
    /// # Errors
    /// What the page says went wrong.
    pub fn recording(&self) -> Result<Option<Recording>, String> {
        let state = lock(&self.state);
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(state.recording.clone()),
        }
    }

    /// Waits at most `limit` for a recording that fulfils `condition`.
    ///
    /// # Errors
    /// What the page says went wrong, or the end of what came.
    pub fn wait_for(
        &self,
        limit: Duration,
        mut condition: impl FnMut(&Recording) -> bool,
    ) -> Result<Recording, String> {
        let deadline = Instant::now() + limit;
        let (last, held) = loop {
            let last = self.recording();
            let held = match &last {
                Ok(Some(recording)) => condition(recording),
                Ok(None) => false,
                Err(_) => true,
            };
            if held || Instant::now() >= deadline {
                break (last, held);
            }
            thread::sleep(REPORTS_EVERY);
        };
        match last? {
            Some(recording) if held => Ok(recording),
            Some(mut recording) => {
                let old = recording.windows.len().saturating_sub(60);
                recording.windows.drain(..old);
                Err(format!("the page's recording, its end: {recording:?}"))
            }
            None => Err("the page has not opened the microphone".to_owned()),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the thread out of `accept`.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers requests until the browser closes the connection. What it does not understand ends the connection.
fn answer(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some((line, body))) = request(&mut reader) {
        let (kind, content) = match line.split(' ').nth(1) {
            Some("/" | "/?again") => ("text/html", include_str!("page/page.html").to_owned()),
            Some("/page.js") => ("text/javascript", include_str!("page/page.js").to_owned()),
            Some("/worklet.js") => (
                "text/javascript",
                include_str!("page/worklet.js").to_owned(),
            ),
            Some("/report") => ("application/json", take(&body, state)),
            _ => ("text/plain", String::new()),
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n",
            content.len()
        );
        let mut stream = stream;
        if stream.write_all((head + &content).as_bytes()).is_err() {
            return;
        }
    }
}

/// The next request's first line and body; nothing if the browser has closed the connection.
fn request(reader: &mut impl io::BufRead) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut first = None;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader
            .by_ref()
            .take(MOST_BYTES as u64)
            .read_line(&mut line)?
            == 0
        {
            return Ok(None);
        }
        let line = line.trim_end();
        if let Some((key, value)) = line.split_once(':')
            && key.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        match first {
            None => first = Some(line.to_owned()),
            Some(first) if line.is_empty() => {
                if length > MOST_BYTES {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body)?;
                return Ok(Some((first, body)));
            }
            Some(_) => {}
        }
    }
}

/// Keeps what the page says, and gives what it is to do.
fn take(body: &[u8], state: &Mutex<State>) -> String {
    let mut state = lock(state);
    match serde_json::from_slice(body) {
        Ok(Report::Recording(new)) => {
            let old = state.recording.take().unwrap_or_default();
            let mut windows = old.windows;
            windows.extend(new.windows);
            state.recording = Some(Recording { windows, ..new });
        }
        Ok(Report::Failed(reason)) => state.failure = Some(reason),
        Err(error) => state.failure = Some(format!("a report is not understood: {error}")),
    }
    serde_json::to_string(&state.next).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_add_up_and_orders_go_back() {
        let page = Page::serve().unwrap();
        let order = page.order(false);
        let say = |body: &str| {
            let mut stream = TcpStream::connect(page.address).unwrap();
            let head = "POST /report HTTP/1.1\r\nhost: x\r\ncontent-length:";
            write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        for nonzero in [7, 0] {
            let answer = say(&format!(
                r#"{{"recording":{{"order":0,"opened":1,"rate":48000,"label":"x","enabled":true,"muted":false,"ended":false,
                "windows":[{{"order":0,"frames":8,"samples":8,"nonzero":{nonzero},"peak":0.5,"last":0.5}}]}}}}"#
            ));
            assert!(answer.ends_with(&format!(r#"{{"order":{order},"enabled":false}}"#)));
        }
        let recording = page.wait_for(Duration::ZERO, |_| true).unwrap();
        let nonzero: Vec<_> = recording.windows.iter().map(|it| it.nonzero).collect();
        assert_eq!(nonzero, [7, 0]);
        assert!(page.wait_for(Duration::ZERO, |_| false).is_err());

        say(r#"{"failed":"NotAllowedError"}"#);
        assert_eq!(page.recording(), Err("NotAllowedError".to_owned()));
        say("not JSON");
        assert!(page.recording().unwrap_err().contains("not understood"));
    }
}
