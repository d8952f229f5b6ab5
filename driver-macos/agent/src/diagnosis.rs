//! What the driver tells about itself in its custom property `diag`, read from the bytes of a property list. Each entry is made
//! in `driver-macos/plugin/src/diag.rs`; what follows from it is `truemute doctor`'s business. How the property is had from Core
//! Audio is in `coreaudio`.

use serde::{Deserialize, Serialize};

/// The driver, as it describes itself. Numbers that the driver has as flags are 0 or 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Version of the driver.
    pub version: String,
    /// Differs after each start of the driver.
    pub instance: String,
    /// When this was said, in nanoseconds of the host's clock.
    pub now_ns: i64,
    /// Whether the gate was unmuted last.
    pub gate_open: u8,
    /// The gate's epoch.
    pub gate_epoch: i64,
    /// Clients that run IO.
    pub running: u32,
    /// The time line; nothing while it is being changed.
    pub clock: Option<Clock>,
    /// Clients that are there, and those that left and are not on record yet.
    pub clients: Vec<Client>,
    /// Reads of no client.
    pub unattributed: Reads,
    /// Clients whose counts were given up for newer ones.
    pub forgotten_clients: i64,
    /// The socket for the agent.
    pub bridge: Bridge,
    /// The last different property requests that were not answered, the latest last. Many of them are as it should be: a host
    /// asks for much that no driver has to have.
    pub unanswered: Vec<Request>,
}

/// Where the driver's clock counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Number of the time line.
    pub seed: i64,
    /// When it began, in ticks of the host's clock.
    pub ticks: i64,
    /// With which frame.
    pub sample: i64,
}

/// Reads and the frames in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// How many.
    pub reads: i64,
    /// Frames in all of them.
    pub frames: i64,
}

/// A client, as Core Audio introduced it to the driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Number that no other client of this instance ever had.
    pub arrival: i64,
    /// Core Audio's number for it.
    pub id: u32,
    /// Its process.
    pub pid: i32,
    /// Its bundle id, if it has one.
    pub bundle_id: Option<String>,
    /// Whether it has not left.
    pub present: u8,
    /// Whether it runs IO: between its StartIO and its StopIO.
    pub running: u8,
    /// What it read while the gate was live; nothing if it is one too many to be counted.
    pub live: Option<Reads>,
    /// What it read while muted.
    pub muted: Option<Reads>,
    /// How many of them did not begin where the one before ended.
    #[serde(default)]
    pub flagged: i64,
}

/// The driver's socket, and each step on the way to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// Whether its thread runs.
    pub started: u8,
    /// The system's error number that kept it from starting.
    pub errno: Option<i32>,
    /// Where it listens in a folder of its own; nothing if it cannot, and tries again.
    pub own_path: Option<String>,
    /// Where it listens by the names that everybody knows; nothing likewise.
    pub path: Option<String>,
    /// Places where it could not listen, at the last attempt.
    #[serde(default)]
    pub failed: Vec<FailedPlace>,
    /// The last other errors of the system.
    #[serde(default)]
    pub errors: Vec<FailedStep>,
    /// The user of the agent that is connected.
    pub producer: Option<u32>,
    /// Agents that were connected so far.
    #[serde(default)]
    pub producers: i64,
    /// Peers that were turned away so far.
    #[serde(default)]
    pub refusals: i64,
    /// The last of them, the oldest first.
    #[serde(default)]
    pub refused: Vec<Refusal>,
}

/// A place where the driver could not listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedPlace {
    /// The path.
    pub path: String,
    /// The system's error number.
    pub errno: i32,
}

/// A call of the system that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStep {
    /// What was tried.
    pub what: String,
    /// The system's error number.
    pub errno: i32,
}

/// A peer that was turned away or dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its user.
    pub user: u32,
    /// Why, in words.
    pub why: String,
    /// When, in nanoseconds of the host's clock.
    pub at_ns: i64,
}

/// A property request that the driver did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The function of the interface.
    pub call: String,
    /// Of which object: 1 the plug-in, 2 the device, 3 its stream.
    pub object: u32,
    /// Which property: four characters in quotes, or a number.
    pub selector: String,
    /// In which scope, likewise.
    pub scope: String,
    /// Of which element.
    pub element: u32,
    /// For which process; 0 for Core Audio itself.
    pub pid: i32,
    /// Bytes that the caller had room for, or sent.
    pub size: u32,
    /// What it was told, likewise.
    pub status: String,
    /// How often.
    pub times: i64,
}

/// Bytes that are no diagnosis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The driver describes itself in a way that this program does not understand ({0}). Install both from the same archive."
)]
pub struct NotADiagnosis(String);

impl Diagnosis {
    /// Reads a property list, in XML or in Apple's binary format. Entries that it does not know are left out.
    ///
    /// # Errors
    /// It is none, or lacks an entry.
    pub fn from_property_list(bytes: &[u8]) -> Result<Self, NotADiagnosis> {
        plist::from_bytes(bytes).map_err(|error| NotADiagnosis(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_diagnosis_is_refused() {
        let empty = b"<?xml version='1.0'?><plist version='1.0'><dict></dict></plist>";
        for bytes in [&b""[..], b"bplist00", b"<plist>", empty] {
            let error = Diagnosis::from_property_list(bytes).unwrap_err();
            assert!(error.to_string().contains("Install both"), "{error}");
        }
    }
}
