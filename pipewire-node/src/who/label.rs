//! What a client says about itself: names, API, claimed pid, and what its stream is for. Everything here reads
//! properties that the client wrote, so everything here is a claim, the purpose too: a recorder that calls itself a
//! level meter is labelled as one. Only the fields' meaning is decided here, never whether to believe them.

use super::Claims;
use truemute_core::observed::{Api, Purpose};

/// A "peak" stream is called a level meter only up to this rate, in Hz. At 25 Hz (pavucontrol, pwvucontrol, plasma-pa
/// and gnome-control-center all ask for that) the resampler hands over one peak value each 40 ms. Without a lower rate
/// there is no resampling, and `resample.peaks` changes nothing: the stream gets every sample.
const HIGHEST_METER_RATE: u32 = 1000;

/// Bytes kept of a name that a client gave itself: longer ones only serve to fill the store.
const LONGEST_NAME: usize = 256;

/// `Meter`: `resample.peaks` at a rate too low to hear anything. `Monitor`: `stream.monitor`, which pipewire-pulse sets
/// for PA_STREAM_PEAK_DETECT at any rate, and which wiremix sets on a stream at full rate: a desktop tool by its own
/// word, but one that does get every sample. (pw_stream adds `resample.peaks` to both: stream.c of 0.3.65, 1.4.2.)
pub(super) fn purpose(claims: &Claims) -> Purpose {
    let flag = |key: &str| {
        claims
            .node_props
            .get(key)
            .is_some_and(|it| it == "true" || it == "1")
    };
    let slow = claims
        .node_props
        .get("node.rate")
        .and_then(|it| it.strip_prefix("1/")?.parse::<u32>().ok())
        .is_some_and(|rate| (1..=HIGHEST_METER_RATE).contains(&rate));
    if flag("resample.peaks") && slow {
        Purpose::Meter
    } else if flag("stream.monitor") {
        Purpose::Monitor
    } else {
        Purpose::Recording
    }
}

/// The API by the client's own word.
pub(super) fn claimed_api(claims: &Claims) -> Api {
    match of_either(claims, "client.api") {
        Some("pipewire-pulse") => Api::Pulse,
        Some(_) => native_api(claims),
        None if claims.client_props.is_empty() => Api::Unknown,
        None => native_api(claims),
    }
}

/// The API of a client whose connection is known to be its own.
pub(super) fn native_api(claims: &Claims) -> Api {
    match of_either(claims, "client.api") {
        Some("alsa") => Api::Alsa,
        Some("jack") => Api::Jack,
        _ => Api::Pipewire,
    }
}

/// The stream's own name: `node.name`, else `media.name`, else empty.
pub(super) fn stream(claims: &Claims) -> String {
    let node = &claims.node_props;
    presentable(
        node.get("node.name")
            .or_else(|| node.get("media.name"))
            .unwrap_or_default(),
    )
}

/// What the client calls itself.
pub(super) fn claimed_app(claims: &Claims) -> String {
    let name = [
        "application.name",
        "application.process.binary",
        "node.name",
        "media.name",
    ]
    .iter()
    .find_map(|key| of_either(claims, key).filter(|it| !it.trim().is_empty()));
    presentable(name.unwrap_or("unknown"))
}

/// The pid that the client gives for itself, in whatever pid namespace it is.
pub(super) fn claimed_pid(claims: &Claims) -> Option<u32> {
    of_either(claims, "application.process.id")?
        .parse()
        .ok()
        .filter(|pid| *pid > 0)
}

/// The name that the client gives for its executable.
pub(super) fn claimed_binary(claims: &Claims) -> Option<&str> {
    of_either(claims, "application.process.binary")
}

/// Of the node if it is there, else of the client: a stream of one connection can be more precise than the connection.
fn of_either<'a>(claims: &'a Claims, key: &str) -> Option<&'a str> {
    claims
        .node_props
        .get(key)
        .or_else(|| claims.client_props.get(key))
}

/// A name as it may stand in a table on a terminal: without control characters (which could move the cursor or clear the
/// screen) and without the marks that reverse the direction of writing (which could make "evil" read as something else),
/// and not endless.
pub(super) fn presentable(name: &str) -> String {
    let harmless = |c: char| match c {
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    name[..name.floor_char_boundary(LONGEST_NAME)]
        .chars()
        .map(harmless)
        .collect()
}
