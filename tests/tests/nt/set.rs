//! The driver in its host, with what most tests begin with: a started device, a feeder and a stream that runs.

use serde_json::Value;
use truemute_tests::c_host::Session;
use truemute_tests::nt_host;

/// `STATUS_SUCCESS` and the errors that tests expect (ntstatus.h).
pub(crate) const SUCCESS: u32 = 0;
pub(crate) const INVALID_PARAMETER: u32 = 0xC000_000D;
pub(crate) const INVALID_DEVICE_REQUEST: u32 = 0xC000_0010;
pub(crate) const ACCESS_DENIED: u32 = 0xC000_0022;
pub(crate) const SHARING_VIOLATION: u32 = 0xC000_0043;
pub(crate) const PROCEDURE_NOT_FOUND: u32 = 0xC000_007A;

/// Frames of the audio engine's period, 10 ms, and its nanoseconds.
pub(crate) const PERIOD: u64 = 480;
pub(crate) const PERIOD_NS: u64 = 10_000_000;
/// Windows' counter on most machines.
pub(crate) const COUNTER_HZ: u64 = 10_000_000;

/// A host with the driver.
pub(crate) struct Set {
    host: Session,
}

impl Set {
    /// Loaded, and nothing else.
    pub(crate) fn loaded(counter_hz: u64) -> Self {
        Self::lacking(&[], counter_hz)
    }

    fn lacking(functions: &[&str], counter_hz: u64) -> Self {
        let (host, ready) = nt_host::session(&nt_host::driver(), counter_hz, functions);
        assert_eq!(ready["status"], SUCCESS, "DriverEntry");
        Self { host }
    }

    /// As [`Set::started`], on a system that has not all that the driver asks for by name.
    pub(crate) fn started_without(functions: &[&str]) -> Self {
        Self::lacking(functions, COUNTER_HZ).start()
    }

    /// With a device that plug and play has started.
    pub(crate) fn started(counter_hz: u64) -> Self {
        Self::loaded(counter_hz).start()
    }

    fn start(mut self) -> Self {
        self.must("device add");
        self.must("device start");
        self
    }

    /// With a handle that is the feeder, number 0, and a stream of two packets of a period that runs.
    pub(crate) fn running() -> Self {
        Self::running_at(COUNTER_HZ)
    }

    pub(crate) fn running_at(counter_hz: u64) -> Self {
        let mut set = Self::started(counter_hz);
        assert_eq!(set.open("console", "rw"), Some(0));
        set.must("attach 0");
        set.run_stream();
        set
    }

    /// Opens the pin, with two packets of a period each, and lets it run.
    pub(crate) fn run_stream(&mut self) {
        self.must("pin");
        self.must(&format!("buffer {} 2", 2 * PERIOD * 8));
        for state in ["acquire", "pause", "run"] {
            self.must(&format!("state {state}"));
        }
    }

    /// Gives the stream up, as the audio engine does.
    pub(crate) fn end_stream(&mut self) {
        for state in ["pause", "acquire", "stop"] {
            self.must(&format!("state {state}"));
        }
        self.must("free");
        self.must("unpin");
    }

    pub(crate) fn order(&mut self, order: &str) -> Value {
        self.host.order(order)
    }

    pub(crate) fn status(&mut self, order: &str) -> u32 {
        let answer = self.order(order);
        let status = answer["status"].as_u64().expect("a status");
        u32::try_from(status).expect("32 bits")
    }

    /// An order that must succeed.
    pub(crate) fn must(&mut self, order: &str) -> Value {
        let answer = self.order(order);
        assert_eq!(answer["status"], SUCCESS, "{order}: {answer}");
        answer
    }

    /// Opens the control device as somebody, for `r`, `w` or both; the handle's number, if he may.
    pub(crate) fn open(&mut self, who: &str, access: &str) -> Option<u64> {
        let answer = self.order(&format!("open TrueMute {who} {access}"));
        if answer["status"] == ACCESS_DENIED {
            return None;
        }
        assert_eq!(answer["status"], SUCCESS, "{who}: {answer}");
        answer["handle"].as_u64()
    }

    /// Unmutes, and feeds with this tag from now on, two periods ahead, with or without renewing the lease.
    pub(crate) fn feed(&mut self, tag: u32, renews: bool) -> Value {
        self.must(&format!(
            "feeder 0 {tag} {} {}",
            u32::from(renews),
            2 * PERIOD
        ))
    }

    /// So many periods of the audio engine go by; nothing that was heard is anything but zeros or the ramp.
    pub(crate) fn play(&mut self, periods: u64) -> Heard {
        self.play_at(periods, PERIOD_NS)
    }

    pub(crate) fn play_at(&mut self, periods: u64, period_ns: u64) -> Heard {
        let said = self.order(&format!("play {periods} {period_ns}"));
        let count = |what: &str| said[what].as_u64().expect("a count");
        assert_eq!(count("foreign"), 0, "{said}");
        let tags = said["tags"].as_array().expect("a list");
        Heard {
            silent: count("silent"),
            live: count("live"),
            mixed: count("mixed"),
            silent_frames: count("silent_frames"),
            live_frames: count("live_frames"),
            gaps: count("gaps"),
            first_live: count("first_live"),
            tags: tags.iter().filter_map(Value::as_u64).collect(),
        }
    }

    /// Bytes of the whole buffer that are not zero.
    pub(crate) fn filled(&mut self) -> u64 {
        self.order("look")["filled"].as_u64().expect("a count")
    }

    /// Ends everything in order, and lets the host look for what is left.
    pub(crate) fn finish(mut self) {
        self.must("device remove");
        assert_eq!(self.order("unload")["unloaded"], true);
        self.quit();
    }

    /// The host looks for what is left; the driver is unloaded already.
    pub(crate) fn quit(self) {
        assert!(self.host.finish(), "the host found something wrong");
    }
}

/// What came out of packets.
#[derive(Debug, PartialEq)]
pub(crate) struct Heard {
    /// Packets that were all zeros, all ramp, and both.
    pub(crate) silent: u64,
    pub(crate) live: u64,
    pub(crate) mixed: u64,
    pub(crate) silent_frames: u64,
    pub(crate) live_frames: u64,
    /// Packets whose number did not follow the last one's.
    pub(crate) gaps: u64,
    /// Position of the first frame of sound; 0 for none.
    pub(crate) first_live: u64,
    /// Of all stretches of feeding that were heard.
    pub(crate) tags: Vec<u64>,
}
