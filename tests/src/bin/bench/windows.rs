//! What a period costs in the Windows driver: the real one, unchanged, in the host in C, which plays audio engine and agent.

use serde::Serialize;
use serde_json::Value;
use truemute_tests::nt_host;

use crate::Result;
use crate::figures::Spread;

/// The counter of most machines.
const COUNTER_HZ: u64 = 10_000_000;

/// Nanoseconds, over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Costs {
    /// The work in a period of 10 ms: the timer that writes a packet, and its fetch.
    pub(crate) live: Spread,
    pub(crate) muted: Spread,
    /// A feed of as many frames.
    pub(crate) feed: Spread,
    /// A mute, which clears the whole ring and a buffer of two packets.
    pub(crate) mute: Spread,
    pub(crate) memcpy: Spread,
    pub(crate) memset: Spread,
    /// What a period takes more than `memcpy` in the same round.
    pub(crate) more: Spread,
    /// Mutes, and those after which a byte of the buffer was not zero.
    pub(crate) mutes: u64,
    pub(crate) filled_after_mute: u64,
    /// Bytes of the driver in memory, those of them that can be written, and what it allocates besides: the pages of the audio
    /// engine's buffer are not its own.
    pub(crate) image: u64,
    pub(crate) writable: u64,
    pub(crate) allocated: u64,
}

/// Whether somebody built the driver.
pub(crate) fn has_driver() -> bool {
    std::env::var_os(nt_host::DRIVER).is_some()
}

pub(crate) fn measure(quick: bool) -> Result<Costs> {
    let rounds = if quick { 20 } else { 300 };
    crate::progress("periods of the Windows driver");
    let (mut host, _) = nt_host::session(&nt_host::driver(), COUNTER_HZ, &[]);
    for order in [
        "device add",
        "device start",
        "open TrueMute console rw",
        "attach 0",
        "pin",
        "buffer 7680 2",
        "state run",
        "feeder 0 1 1 960",
    ] {
        let answer = host.order(order);
        if answer["status"] != 0 {
            return Err(format!("{order}: {answer}").into());
        }
    }
    let said = host.order(&format!("time {rounds}"));
    let memory = host.order("memory");
    if said["live_periods"] != said["periods"] {
        return Err(format!("not every period was live: {said}").into());
    }
    let live = column(&said, "live")?;
    let memcpy = column(&said, "memcpy")?;
    let more = live.iter().zip(&memcpy).map(|(live, memcpy)| live - memcpy);
    let spread = |values: Vec<f64>| Spread::of(values).ok_or("no rounds");
    Ok(Costs {
        more: spread(more.collect())?,
        muted: spread(column(&said, "muted")?)?,
        feed: spread(column(&said, "feed")?)?,
        mute: spread(column(&said, "mute")?)?,
        memset: spread(column(&said, "memset")?)?,
        live: spread(live)?,
        memcpy: spread(memcpy)?,
        mutes: rounds,
        filled_after_mute: number(&said, "filled_after_mute")?,
        image: number(&memory, "image")?,
        writable: number(&memory, "writable")?,
        allocated: number(&memory, "most_bytes")?,
    })
}

fn column(answer: &Value, name: &str) -> Result<Vec<f64>> {
    let values = answer[name].as_array().ok_or("the host names no figures")?;
    Ok(values.iter().filter_map(Value::as_f64).collect())
}

fn number(answer: &Value, name: &str) -> Result<u64> {
    Ok(answer[name].as_u64().ok_or("the host names no number")?)
}
