//! What the data of an event is, by the manifests that Windows carries (10 1507 to 11 24H2). That a process named in an offer
//! records rather than plays, they do not say.

use super::{OFFER, PACKET, RawEvent};

/// An event's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// `CrossProcessInstance`, `ReadIndex`, `WriteIndex`, `FramesInPacket`, `QPC`.
    Packet { instance: u64, frames: u32 },
    /// `objInstance`, `ClientProcessId`, `EventHandle`.
    Offer { instance: u64, client: u32 },
}

/// What it is; nothing if it is of another kind, or has another layout than the manifests'.
pub(super) fn decode(event: &RawEvent) -> Option<Meaning> {
    let mut data = Data::of(event)?;
    let meaning = match (event.id, event.version) {
        (PACKET, 0) => {
            let instance = data.pointer()?;
            let [_read, _write, frames] = [data.u32()?, data.u32()?, data.u32()?];
            let _qpc = data.take::<8>()?;
            Meaning::Packet { instance, frames }
        }
        (OFFER, 0) => {
            let (instance, client) = (data.pointer()?, data.u32()?);
            let _event = data.pointer()?;
            Meaning::Offer { instance, client }
        }
        _ => return None,
    };
    data.rest.is_empty().then_some(meaning)
}

struct Data {
    rest: Vec<u8>,
    pointer_bytes: u8,
}

impl Data {
    fn of(event: &RawEvent) -> Option<Self> {
        let digits = event.data.as_bytes();
        let (pairs, odd) = digits.as_chunks::<2>();
        if !odd.is_empty() {
            return None;
        }
        let digit = |letter: u8| char::from(letter).to_digit(16);
        let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
        Some(Self {
            rest: pairs.iter().map(byte).collect::<Option<_>>()?,
            pointer_bytes: event.pointer_bytes,
        })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.rest.first_chunk::<N>()?;
        self.rest.drain(..N);
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn pointer(&mut self) -> Option<u64> {
        match self.pointer_bytes {
            4 => self.u32().map(u64::from),
            8 => self.take().map(u64::from_le_bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Event 115 as 64-bit Windows logs it.
    pub(crate) fn packet(pid: u32, instance: u64, frames: u32) -> RawEvent {
        let mut data = instance.to_le_bytes().to_vec();
        for number in [7_u32, 8, frames] {
            data.extend(number.to_le_bytes());
        }
        data.extend(123_u64.to_le_bytes());
        event(PACKET, pid, &data)
    }

    /// Event 160 as 64-bit Windows logs it.
    pub(crate) fn offer(pid: u32, instance: u64, client: u32) -> RawEvent {
        let mut data = instance.to_le_bytes().to_vec();
        data.extend(client.to_le_bytes());
        data.extend(0x1c4_u64.to_le_bytes());
        event(OFFER, pid, &data)
    }

    fn event(id: u16, pid: u32, data: &[u8]) -> RawEvent {
        RawEvent {
            id,
            version: 0,
            pid,
            at_ns: 1,
            pointer_bytes: 8,
            data: RawEvent::digits(data),
        }
    }

    #[test]
    fn both_events_have_the_layout_of_the_manifests_and_nothing_else_is_understood() {
        let (instance, frames) = (0x1f00_0000_0010, 480);
        assert_eq!(
            decode(&packet(4, instance, frames)),
            Some(Meaning::Packet { instance, frames })
        );
        let asked = offer(4, instance, 70_001);
        let client = 70_001;
        assert_eq!(decode(&asked), Some(Meaning::Offer { instance, client }));
        let mut short = RawEvent {
            pointer_bytes: 4,
            data: RawEvent::digits(&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]),
            ..asked.clone()
        };
        assert_eq!(
            decode(&short),
            Some(Meaning::Offer {
                instance: 1,
                client: 2
            })
        );
        short.data.push_str("00");
        assert_eq!(decode(&short), None, "longer than the manifest says");
        for wrong in [
            RawEvent {
                version: 1,
                ..asked.clone()
            },
            RawEvent {
                id: 116,
                ..asked.clone()
            },
            RawEvent {
                pointer_bytes: 2,
                ..asked.clone()
            },
            RawEvent {
                data: "1g".into(),
                ..asked.clone()
            },
            RawEvent {
                data: "123".into(),
                ..asked
            },
        ] {
            assert_eq!(decode(&wrong), None, "{wrong:?}");
        }
    }
}
