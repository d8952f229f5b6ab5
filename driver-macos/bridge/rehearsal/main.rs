//! The other process of the tests: a plug-in that reads all the time and tells what it heard, or an agent that speaks. Only for
//! `tests/two_processes`; no part of what is installed.

#[path = "../tests/stage/ear.rs"]
mod ear;
#[path = "../tests/stage/mic.rs"]
mod mic;

use ear::{Ear, until};
use mic::{Mic, now_ns};
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use truemute_bridge::Frame;
use truemute_bridge::client::{Client, Connected};
use truemute_bridge::memory::Incoming;
use truemute_bridge::server::Server;
use truemute_core::gate::Decision;

/// Frames that are read at once, and how far behind the clock.
const FRAMES: u64 = 256;
const BEHIND: u64 = 1024;

/// How far ahead of the clock the agent writes.
const AHEAD: u64 = 2400;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["plugin", folder, user] => plugin(Path::new(folder), user.parse().unwrap()),
        ["agent", folder, tag, trusted] => agent(
            Path::new(folder),
            tag.parse().unwrap(),
            trusted.parse().unwrap(),
        ),
        _ => panic!("plugin FOLDER USER, or agent FOLDER TAG TRUSTED"),
    }
}

/// The clock of both, at 48 frames a millisecond.
fn position() -> u64 {
    now_ns() / 1000 * 48 / 1000
}

/// What the reader heard so far.
#[derive(Clone, Copy, Default)]
struct Heard {
    live: u64,
    silent: u64,
    /// Silent reads with anything but zeros in them.
    leaks: u64,
    /// Live reads with a frame that does not belong there.
    foreign: u64,
    tag: u32,
    longest_ns: u64,
}

/// Serves, reads, and answers each line of its input with what it heard.
fn plugin(folder: &Path, user: u32) {
    let (mic, incoming) = (Arc::new(Mic::default()), Arc::new(Incoming::new()));
    let allowed = Box::new(move || Ok(Some(user)));
    let server = Server::start(folder, allowed, mic.clone(), incoming.clone()).unwrap();
    until("a socket", || server.report().path);
    let heard = Arc::new(Mutex::new(Heard::default()));
    std::thread::spawn({
        let (mic, heard) = (mic.clone(), heard.clone());
        move || {
            loop {
                read(&mic, &incoming, &heard);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    println!("ready");
    for line in stdin().lock().lines() {
        line.unwrap();
        let (heard, report) = (*heard.lock().unwrap(), server.report());
        println!(
            "live={} silent={} leaks={} foreign={} tag={} longest_ns={} open={} producers={} refusals={} why={:?}",
            heard.live,
            heard.silent,
            heard.leaks,
            heard.foreign,
            heard.tag,
            heard.longest_ns,
            u8::from(mic.gate.state().1),
            report.producers,
            report.refusals,
            report.refused.back().map(|it| it.1),
        );
        stdout().flush().unwrap();
    }
}

fn read(mic: &Mic, incoming: &Incoming, heard: &Mutex<Heard>) {
    let at = position() - BEHIND - FRAMES;
    let mut bytes = vec![0xff; FRAMES as usize * 8];
    let began_ns = now_ns();
    let decision = incoming.with(|ring| match ring {
        Some(ring) => Some(ring.deliver(&mic.gate, now_ns(), at, &mut bytes)),
        None => {
            bytes.fill(0);
            None
        }
    });
    let took_ns = now_ns() - began_ns;
    let words: Vec<u64> = bytes
        .chunks_exact(8)
        .map(|it| u64::from_le_bytes(it.try_into().unwrap()))
        .collect();
    let mut heard = heard.lock().unwrap();
    heard.longest_ns = heard.longest_ns.max(took_ns);
    if let Some(Decision::Live(_)) = decision {
        heard.live += 1;
        heard.tag = (words[0] >> 32) as u32;
        let right = (at..).map(|at| u64::from(heard.tag) << 32 | u64::from(at as u32));
        heard.foreign += u64::from(!words.iter().copied().eq(right.take(words.len())));
    } else {
        heard.silent += 1;
        heard.leaks += u64::from(words.iter().any(|it| *it != 0));
    }
}

/// Unmutes, and speaks as long as it may: each frame is its position and the tag.
fn agent(folder: &Path, tag: u32, trusted: u32) {
    let connected = Client::connect(folder, &[trusted], Box::new(Ear::default()));
    let Connected {
        client, mut ring, ..
    } = match connected {
        Ok(connected) => connected,
        Err(why) => return println!("{why:?}"),
    };
    let opened = client.unmute().unwrap();
    let mut next = position() + AHEAD;
    ring.begin(opened.epoch, next, now_ns());
    println!("ready");
    while client.renew_lease().is_ok_and(|gate| gate.open) {
        let end = position() + AHEAD;
        let frames: Vec<Frame> = (next..end)
            .map(|at| [at as u32, tag].map(f32::from_bits))
            .collect();
        ring.write(&frames);
        next = end.max(next);
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("lapsed");
}
