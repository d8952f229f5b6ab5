//! The global hotkey on a real X server (Xvfb): presses reach the callback, once each; a combination that belongs to
//! somebody else is refused; a server that goes is noticed. Keys are pressed through the XTEST extension.
//!
//! The display's name is a matter of a process, so the hotkey runs in a child: this test program, called for one of the
//! tests `child` and `child_daemon`.

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use support::Rig;
use truemute::hotkey::Hotkey;
use truemute::protocol::{Call, WatchEvent, WatchParams};
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    ConnectionExt as _, CreateWindowAux, EventMask, GrabMode, InputFocus, KEY_PRESS_EVENT,
    KEY_RELEASE_EVENT, ModMask, WindowClass,
};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

/// Longest wait for anything that must happen.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long a test watches that nothing more happens. The server repeats held keys every 10 ms here.
const QUIET: Duration = Duration::from_millis(500);

const COMBO: &str = "TRUEMUTE_TEST_COMBO";
const CONTROL_L: u32 = 0xffe3;
const ALT_L: u32 = 0xffe9;
const NUM_LOCK: u32 = 0xff7f;
const M: u32 = 'm' as u32;
const X: u32 = 'x' as u32;

/// An X server of the test's own, on a display number that it finds free itself.
struct Server {
    process: Child,
    display: String,
    connection: RustConnection,
    root: u32,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new("Xvfb")
            .args([
                "-displayfd",
                "1",
                "-nolisten",
                "tcp",
                "-screen",
                "0",
                "64x64x24",
            ])
            .args(["-ardelay", "50", "-arinterval", "10"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is needed for this test (Debian: apt install xvfb)");
        let mut number = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut number)
            .expect("Xvfb names its display");
        let display = format!(":{}", number.trim());
        let (connection, screen) = RustConnection::connect(Some(&display)).expect("Xvfb answers");
        let root = connection.setup().roots[screen].root;
        Self {
            process,
            display,
            connection,
            root,
        }
    }

    fn keycode(&self, keysym: u32) -> u8 {
        let setup = self.connection.setup();
        let (first, last) = (setup.min_keycode, setup.max_keycode);
        let mapping = self
            .connection
            .get_keyboard_mapping(first, last - first + 1)
            .expect("sent")
            .reply()
            .expect("reply");
        let per_key = usize::from(mapping.keysyms_per_keycode);
        let at = mapping
            .keysyms
            .chunks(per_key)
            .position(|keysyms| keysyms.contains(&keysym));
        first + u8::try_from(at.expect("the keyboard has the key")).expect("a keycode")
    }

    fn send(&self, kind: u8, keysym: u32) {
        let key = self.keycode(keysym);
        self.connection
            .xtest_fake_input(kind, key, 0, self.root, 0, 0, 0)
            .expect("sent")
            .check()
            .expect("XTEST");
    }

    fn hold(&self, keysyms: &[u32]) {
        keysyms
            .iter()
            .for_each(|&keysym| self.send(KEY_PRESS_EVENT, keysym));
    }

    fn release(&self, keysyms: &[u32]) {
        keysyms
            .iter()
            .rev()
            .for_each(|&keysym| self.send(KEY_RELEASE_EVENT, keysym));
    }

    fn press(&self, keysyms: &[u32]) {
        self.hold(keysyms);
        self.release(keysyms);
    }

    /// Runs a hotkey in a process of its own.
    fn listener(&self, combo: &str) -> Listener {
        self.run("child", combo)
    }

    /// Runs one test of this file in a process of its own.
    fn run(&self, test: &str, combo: &str) -> Listener {
        let mut process = Command::new(std::env::current_exe().expect("this test"))
            .args([test, "--exact", "--nocapture"])
            .env(COMBO, combo)
            .env("DISPLAY", &self.display)
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("XDG_SESSION_TYPE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test runs");
        let stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The test harness writes lines of its own.
                if let Some(words) = line
                    .split_once("hotkey: ")
                    .map(|(_, words)| words.to_owned())
                    && sender.send(words).is_err()
                {
                    return;
                }
            }
        });
        Listener { process, lines }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Listener {
    process: Child,
    lines: Receiver<String>,
}

impl Listener {
    fn next(&self) -> String {
        self.lines
            .recv_timeout(DEADLINE)
            .expect("the hotkey's process says something")
    }

    fn expect(&self, words: &str) {
        assert_eq!(self.next(), words);
    }

    fn expect_nothing(&self) {
        assert_eq!(
            self.lines.recv_timeout(QUIET),
            Err(RecvTimeoutError::Timeout)
        );
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The hotkey's process, when the other tests call it; does nothing otherwise.
#[test]
fn child() {
    let Ok(combo) = std::env::var(COMBO) else {
        return;
    };
    let on_press = || println!("hotkey: pressed");
    let on_loss = |error| println!("hotkey: {error}");
    let _hotkey = match Hotkey::start(&combo, on_press, on_loss) {
        Ok(hotkey) => hotkey,
        Err(error) => return println!("hotkey: {error}"),
    };
    println!("hotkey: ready");
    // Until the test that wanted this process closes its end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A daemon with a hotkey, when `with_daemon` calls it; does nothing otherwise. It says every state and its warnings.
#[test]
fn child_daemon() {
    let Ok(combo) = std::env::var(COMBO) else {
        return;
    };
    let rig = Rig::start();
    let _hotkey = Hotkey::of_daemon(&combo, &rig.daemon().handle());
    println!("hotkey: ready");
    let mut client = rig.client();
    client
        .call(Call::Watch(WatchParams::default()))
        .expect("it watches");
    thread::spawn(move || {
        let mut said = String::new();
        while let Ok(Some(event)) = client.follow::<WatchEvent>() {
            if let WatchEvent::State(status) = event {
                let words = format!(
                    "{:?} by {} {:?}",
                    status.gate, status.reason, status.warnings
                );
                // The real mic's state changes too, a moment later.
                if words != said {
                    println!("hotkey: {words}");
                }
                said = words;
            }
        }
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn the_daemon_toggles() {
    let server = Server::start();
    let listener = server.run("child_daemon", "ctrl+alt+m");
    listener.expect("ready");
    listener.expect("Muted by start []");
    server.press(&[CONTROL_L, ALT_L, M]);
    listener.expect("Live by hotkey []");
    server.press(&[CONTROL_L, ALT_L, M]);
    listener.expect("Muted by hotkey []");
}

#[test]
fn the_daemon_runs_on_without_a_hotkey_and_says_so() {
    let server = Server::start();
    let first = server.listener("ctrl+alt+m");
    first.expect("ready");
    let listener = server.run("child_daemon", "ctrl+alt+m");
    listener.expect("ready");
    let words = listener.next();
    assert!(
        words.starts_with("Muted by start") && words.contains("belongs to another program"),
        "{words}"
    );
}

#[test]
fn each_press_is_one_call() {
    let server = Server::start();
    let listener = server.listener("ctrl+alt+m");
    listener.expect("ready");
    server.press(&[CONTROL_L, ALT_L, M]);
    listener.expect("pressed");
    server.press(&[CONTROL_L, ALT_L, M]);
    listener.expect("pressed");
    server.press(&[CONTROL_L, M]);
    server.press(&[M]);
    listener.expect_nothing();
}

#[test]
fn a_held_key_counts_once() {
    let server = Server::start();
    assert!(
        repeats(&server) > 2,
        "this X server repeats held keys, or the test below would prove nothing"
    );
    let listener = server.listener("ctrl+alt+m");
    listener.expect("ready");
    server.hold(&[CONTROL_L, ALT_L, M]);
    listener.expect("pressed");
    listener.expect_nothing();
    server.release(&[CONTROL_L, ALT_L, M]);
}

/// Presses that a window with the focus sees while one key is held.
fn repeats(server: &Server) -> usize {
    let connection = &server.connection;
    let window = connection.generate_id().expect("an id");
    let aux = CreateWindowAux::new()
        .event_mask(EventMask::KEY_PRESS)
        .override_redirect(1);
    connection
        .create_window(
            0,
            window,
            server.root,
            0,
            0,
            9,
            9,
            0,
            WindowClass::INPUT_OUTPUT,
            0,
            &aux,
        )
        .expect("sent")
        .check()
        .expect("a window");
    connection
        .map_window(window)
        .expect("sent")
        .check()
        .expect("mapped");
    connection
        .set_input_focus(InputFocus::NONE, window, 0u32)
        .expect("sent")
        .check()
        .expect("focus");
    server.hold(&[X]);
    let (mut seen, begin) = (0, Instant::now());
    while seen < 3 && begin.elapsed() < DEADLINE {
        match connection.poll_for_event().expect("the server is there") {
            Some(Event::KeyPress(_)) => seen += 1,
            Some(_) => {}
            None => thread::yield_now(),
        }
    }
    server.release(&[X]);
    seen
}

#[test]
fn num_lock_does_not_matter() {
    let server = Server::start();
    let listener = server.listener("ctrl+alt+m");
    listener.expect("ready");
    server.press(&[NUM_LOCK]);
    server.press(&[CONTROL_L, ALT_L, M]);
    listener.expect("pressed");
}

#[test]
fn a_combination_of_another_program_is_refused() {
    let server = Server::start();
    let mods = ModMask::CONTROL | ModMask::M1;
    server
        .connection
        .grab_key(
            false,
            server.root,
            mods,
            server.keycode(M),
            GrabMode::ASYNC,
            GrabMode::ASYNC,
        )
        .expect("sent")
        .check()
        .expect("nobody else has it");
    let listener = server.listener("ctrl+alt+m");
    let words = listener.next();
    assert!(
        words.contains("ctrl+alt+m belongs to another program"),
        "{words}"
    );
}

#[test]
fn it_is_given_back() {
    let server = Server::start();
    let first = server.listener("ctrl+alt+m");
    first.expect("ready");
    drop(first);
    server.listener("ctrl+alt+m").expect("ready");
}

#[test]
fn a_server_that_goes_is_noticed() {
    let mut server = Server::start();
    let listener = server.listener("ctrl+alt+m");
    listener.expect("ready");
    server.process.kill().expect("it runs");
    let words = listener.next();
    assert!(words.contains("The X server went away"), "{words}");
}

#[test]
fn without_a_server_it_says_so() {
    let server = Server::start();
    let display = server.display.clone();
    drop(server);
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["child", "--exact", "--nocapture"])
        .env(COMBO, "ctrl+alt+m")
        .env("DISPLAY", display)
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("XDG_SESSION_TYPE")
        .output()
        .expect("this test runs");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(
        words.contains("There is no X display for the hotkey"),
        "{words}"
    );
}
