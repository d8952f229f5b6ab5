//! What a read costs through the macOS plug-in: the real one, loaded by the host in C, fed over its bridge from here.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::getuid;
use serde::Serialize;
use serde_json::Value;
use truemute_bridge::client::{Client, ClientError, Connected, Watcher};
use truemute_bridge::message::Event;
use truemute_core::ledger::Pull;
use truemute_core::shared_ring::FRAMES;
use truemute_hal::seats::Seats;
use truemute_tests::c_host::Session;
use truemute_tests::hal_host;

use crate::Result;
use crate::figures::Spread;

const CLIENTS: [u32; 3] = [1, 8, 64];

/// Of whatever is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// Reads in one state of the gate; nanoseconds of one call, over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) live: bool,
    pub(crate) clients: u32,
    pub(crate) read: Spread,
    pub(crate) memcpy: Spread,
    pub(crate) memset: Spread,
    /// One look at a clock. A read takes two: the time, and whether the machine slept.
    pub(crate) clock: Spread,
    /// Finding the client, its door and its counters, for one read.
    pub(crate) counting: Spread,
    /// What a read takes more than `memcpy` (live) or `memset` (muted) in the same round.
    pub(crate) more: Spread,
}

struct Deaf;

impl Watcher for Deaf {
    fn event(&mut self, _: Event) {}

    fn lost(&mut self, _: ClientError) {}
}

pub(crate) fn measure(quick: bool, rows: &mut Vec<Row>) -> Result<()> {
    let rounds = if quick { 20 } else { 300 };
    let folder = tempfile::tempdir()?;
    let mut host = hal_host::session(folder.path());
    for id in 1..=CLIENTS[2] {
        host.order(&format!("add {id} {} org.example.app", 1000 + id));
        host.order(&format!("start {id}"));
    }
    let began = Instant::now();
    let mut connected = loop {
        match Client::connect(folder.path(), &[getuid().as_raw()], Box::new(Deaf)) {
            Ok(connected) => break connected,
            Err(error) if began.elapsed() > LIMIT => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    for clients in CLIENTS {
        crate::progress(format!("reads on macOS' interface, {clients} clients"));
        for live in [true, false] {
            let began = Instant::now();
            // A busy machine may not renew the lease in time: then the rounds are not of one state, and are repeated.
            while !row(&mut host, &mut connected, clients, live, rounds, rows)? {
                if began.elapsed() > LIMIT {
                    return Err(
                        "the lease was never renewed in time: the machine is too busy".into(),
                    );
                }
            }
        }
    }
    Ok(())
}

/// Whether all rounds were of the state.
fn row(
    host: &mut Session,
    connected: &mut Connected,
    clients: u32,
    live: bool,
    rounds: usize,
    rows: &mut Vec<Row>,
) -> Result<bool> {
    let Connected { client, ring, .. } = connected;
    if live {
        let opened = client.unmute()?;
        ring.begin(opened.epoch, 0, opened.opened_ns);
        ring.write(&[[0.5, -0.5]; FRAMES]);
        // No frame is read before its capture is over, by its own time: the last one that is timed is the 8192nd.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(200) {
            client.renew_lease()?;
            std::thread::sleep(Duration::from_millis(20));
        }
    } else {
        client.mute()?;
    }
    let done = AtomicBool::new(false);
    let answer = std::thread::scope(|scope| {
        let client = &*client;
        let done = &done;
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) && client.renew_lease().is_ok() {
                std::thread::sleep(Duration::from_millis(25));
            }
        });
        let answer = host.order(&format!("time {clients} 0 {rounds}"));
        done.store(true, Ordering::Relaxed);
        answer
    });
    let expected = if live { rounds as u64 } else { 0 };
    if answer["live"] != expected {
        return Ok(false);
    }
    let beside = column(&answer, if live { "memcpy" } else { "memset" })?;
    let read = column(&answer, "read")?;
    let more = read.iter().zip(&beside).map(|(read, beside)| read - beside);
    let spread = |values: Vec<f64>| Spread::of(values).ok_or("no rounds");
    rows.push(Row {
        live,
        clients,
        more: spread(more.collect())?,
        memcpy: spread(column(&answer, "memcpy")?)?,
        memset: spread(column(&answer, "memset")?)?,
        clock: spread(column(&answer, "clock")?)?,
        counting: spread(counting(clients, live, rounds)?)?,
        read: spread(read)?,
    });
    Ok(true)
}

/// Nanoseconds that counting one read takes, in rounds: the plug-in's own code, in this process, without a host.
fn counting(clients: u32, live: bool, rounds: usize) -> Result<Vec<f64>> {
    const CALLS: u32 = 1000;
    let seats = Seats::new();
    for id in 1..=clients {
        seats
            .take(u64::from(id), id, false)
            .ok_or("there is no seat for a client")?;
    }
    let round = |round: usize| {
        let began = Instant::now();
        for call in 0..CALLS {
            let pull = Pull {
                finish_ns: (round as u64 * u64::from(CALLS) + u64::from(call)) * 10_666_667,
                frames: 512,
                nanoseconds: 10_666_667,
                live,
                flagged: false,
            };
            black_box(&seats)
                .begin(1 + call % clients)
                .end(black_box(pull), Some(u64::from(call) * 512));
        }
        began.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    Ok((0..rounds).map(round).collect())
}

fn column(answer: &Value, name: &str) -> Result<Vec<f64>> {
    let values = answer[name].as_array().ok_or("the host names no figures")?;
    Ok(values.iter().filter_map(Value::as_f64).collect())
}
