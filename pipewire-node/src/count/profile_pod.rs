//! What the server's profiler sends, taken apart: per driver cycle, what every follower did. Bytes in, plain records
//! out; anything that does not fit is skipped and counted. Nothing here knows PipeWire's library.
//!
//! Format: spa/param/profiler.h inside a Struct of Objects; pods as in spa/pod/pod.h: size and type in 32 bits each,
//! then the body, then zeros up to a multiple of 8. (The crate `libspa` reads pods too, but panics on some that are
//! damaged, and these come from another process.)

use pipewire::spa::sys as spa_sys;

/// One cycle of one driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProfiledCycle {
    /// Number of the cycle: a gap means that cycles were not told.
    pub(crate) count: i64,
    /// The driver's global id.
    pub(crate) driver_id: u32,
    /// When the driver began the cycle, in nanoseconds of the monotonic clock.
    pub(crate) signal_ns: u64,
    /// Frames of the cycle.
    pub(crate) frames: u32,
    /// The graph's rate in Hz.
    pub(crate) rate: u32,
    /// Clock position.
    pub(crate) position: u64,
    /// The nodes that it drove.
    pub(crate) followers: Vec<Follower>,
}

/// What one node, follower or driver, did in a cycle. Times are nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Follower {
    /// The node's global id.
    pub(crate) node_id: u32,
    /// When it was told to run.
    pub(crate) signal_ns: u64,
    /// When it began to.
    pub(crate) awake_ns: u64,
    /// When it completed its last cycle.
    pub(crate) finish_ns: u64,
    /// As in an activation record: 3 is finished.
    pub(crate) status: u32,
}

/// What one message held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The cycles that could be read, in the order of the message.
    pub(crate) cycles: Vec<ProfiledCycle>,
    /// Cycles and followers that could not.
    pub(crate) damaged: u64,
}

/// Reads a message of the profiler. Never fails and never panics.
pub(crate) fn parse(message: &[u8]) -> Profile {
    let mut profile = Profile::default();
    let Some((pod, _)) = split(message) else {
        return Profile {
            damaged: 1,
            ..profile
        };
    };
    let mut rest = match pod.kind {
        spa_sys::SPA_TYPE_Struct => pod.body,
        _ => {
            return Profile {
                damaged: 1,
                ..profile
            };
        }
    };
    while !rest.is_empty() {
        let Some((object, after)) = split(rest) else {
            profile.damaged += 1;
            break;
        };
        rest = after;
        match cycle(object, &mut profile.damaged) {
            Some(cycle) => profile.cycles.push(cycle),
            None => profile.damaged += 1,
        }
    }
    profile
}

fn cycle(object: Pod<'_>, damaged: &mut u64) -> Option<ProfiledCycle> {
    let (kind, mut rest) = (object.body.get(..4)?, object.body.get(8..)?);
    if object.kind != spa_sys::SPA_TYPE_Object || word(kind)? != spa_sys::SPA_TYPE_OBJECT_Profiler {
        return None;
    }
    let (mut count, mut clock, mut driver, mut followers) = (None, None, None, Vec::new());
    while !rest.is_empty() {
        let key = word(rest.get(..4)?)?;
        let (value, after) = split(rest.get(8..)?)?;
        rest = after;
        let fields = Fields::of(value)?;
        match key {
            spa_sys::SPA_PROFILER_info => count = fields.long(0),
            spa_sys::SPA_PROFILER_clock => clock = times(&fields),
            spa_sys::SPA_PROFILER_driverBlock => driver = follower(&fields),
            spa_sys::SPA_PROFILER_followerBlock => match follower(&fields) {
                Some(follower) => followers.push(follower),
                None => *damaged += 1,
            },
            // Later versions add blocks of their own.
            _ => {}
        }
    }
    let (frames, rate, position) = clock?;
    let Follower {
        node_id, signal_ns, ..
    } = driver?;
    Some(ProfiledCycle {
        count: count?,
        driver_id: node_id,
        signal_ns,
        frames,
        rate,
        position,
        followers,
    })
}

/// Duration, rate and position of the clock block.
fn times(fields: &Fields<'_>) -> Option<(u32, u32, u64)> {
    let frames = u32::try_from(fields.long(6)?).ok()?;
    Some((
        frames,
        fields.denominator(4)?,
        fields.long(5)?.cast_unsigned(),
    ))
}

fn follower(fields: &Fields<'_>) -> Option<Follower> {
    Some(Follower {
        node_id: fields.int(0)?,
        signal_ns: fields.long(3)?.cast_unsigned(),
        awake_ns: fields.long(4)?.cast_unsigned(),
        finish_ns: fields.long(5)?.cast_unsigned(),
        status: fields.int(6)?,
    })
}

#[derive(Clone, Copy)]
struct Pod<'a> {
    kind: u32,
    body: &'a [u8],
}

/// The first pod, and what follows it.
fn split(bytes: &[u8]) -> Option<(Pod<'_>, &[u8])> {
    let size = word(bytes.get(..4)?)? as usize;
    let kind = word(bytes.get(4..8)?)?;
    let body = bytes.get(8..)?.get(..size)?;
    // The last one may lack its padding.
    let next = size.checked_next_multiple_of(8)?.checked_add(8)?;
    Some((Pod { kind, body }, bytes.get(next..).unwrap_or(&[])))
}

fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// The fields of a Struct, by number.
struct Fields<'a>(Vec<Pod<'a>>);

impl<'a> Fields<'a> {
    fn of(pod: Pod<'a>) -> Option<Self> {
        if pod.kind != spa_sys::SPA_TYPE_Struct {
            return None;
        }
        let (mut fields, mut rest) = (Vec::with_capacity(16), pod.body);
        while !rest.is_empty() {
            let (field, after) = split(rest)?;
            fields.push(field);
            rest = after;
        }
        Some(Fields(fields))
    }

    fn body(&self, number: usize, kind: u32) -> Option<&'a [u8]> {
        self.0
            .get(number)
            .filter(|pod| pod.kind == kind)
            .map(|pod| pod.body)
    }

    fn int(&self, number: usize) -> Option<u32> {
        word(self.body(number, spa_sys::SPA_TYPE_Int)?)
    }

    fn long(&self, number: usize) -> Option<i64> {
        Some(i64::from_ne_bytes(
            self.body(number, spa_sys::SPA_TYPE_Long)?.try_into().ok()?,
        ))
    }

    fn denominator(&self, number: usize) -> Option<u32> {
        word(self.body(number, spa_sys::SPA_TYPE_Fraction)?.get(4..8)?)
    }
}

/// Messages as the server builds them.
#[cfg(test)]
pub(crate) mod built {
    use super::*;
    use pipewire::spa::pod::serialize::PodSerializer;
    use pipewire::spa::pod::{Object, Property, PropertyFlags, Value};
    use pipewire::spa::utils::Fraction;
    use std::io::Cursor;

    fn int(value: u32) -> Value {
        Value::Int(value.cast_signed())
    }

    fn long(value: u64) -> Value {
        Value::Long(value.cast_signed())
    }

    fn property(key: u32, fields: Vec<Value>) -> Property {
        Property {
            key,
            flags: PropertyFlags::empty(),
            value: Value::Struct(fields),
        }
    }

    fn block(id: u32, signal: u64, awake: u64, finish: u64, status: u32) -> Vec<Value> {
        let latency = Value::Fraction(Fraction {
            num: 256,
            denom: 48_000,
        });
        let name = Value::String("node".to_owned());
        vec![
            int(id),
            name,
            long(1),
            long(signal),
            long(awake),
            long(finish),
            int(status),
            latency,
            int(0),
        ]
    }

    fn object(cycle: &ProfiledCycle) -> Value {
        let info = vec![
            Value::Long(cycle.count),
            Value::Float(0.1),
            Value::Float(0.2),
            Value::Float(0.3),
            int(4),
        ];
        let clock = vec![
            int(0),
            int(7),
            Value::String("clock.system".to_owned()),
            long(5),
            Value::Fraction(Fraction {
                num: 1,
                denom: cycle.rate,
            }),
            long(cycle.position),
            long(u64::from(cycle.frames)),
            long(0),
            Value::Double(1.0),
            long(6),
        ];
        let mut properties = vec![
            property(spa_sys::SPA_PROFILER_info, info),
            property(spa_sys::SPA_PROFILER_clock, clock),
            property(
                spa_sys::SPA_PROFILER_driverBlock,
                block(cycle.driver_id, cycle.signal_ns, 2, 3, 3),
            ),
        ];
        for follower in &cycle.followers {
            let Follower {
                node_id,
                signal_ns,
                awake_ns,
                finish_ns,
                status,
            } = *follower;
            let block = block(node_id, signal_ns, awake_ns, finish_ns, status);
            properties.push(property(spa_sys::SPA_PROFILER_followerBlock, block));
            // A block of a later version.
            properties.push(property(0x20002, vec![int(1)]));
        }
        Value::Object(Object {
            type_: spa_sys::SPA_TYPE_OBJECT_Profiler,
            id: 0,
            properties,
        })
    }

    pub(crate) fn message(cycles: &[ProfiledCycle]) -> Vec<u8> {
        let message = Value::Struct(cycles.iter().map(object).collect());
        PodSerializer::serialize(Cursor::new(Vec::new()), &message)
            .unwrap()
            .0
            .into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::built::message;
    use super::*;

    fn cycles() -> Vec<ProfiledCycle> {
        let follower = |node_id| Follower {
            node_id,
            signal_ns: 10,
            awake_ns: 11,
            finish_ns: 12,
            status: 3,
        };
        let cycle = |count: i64, followers: u32| ProfiledCycle {
            count,
            driver_id: 30,
            signal_ns: 9,
            frames: 256,
            rate: 48_000,
            position: 1 << 40,
            followers: (40..40 + followers).map(follower).collect(),
        };
        vec![cycle(1, 0), cycle(2, 3), cycle(i64::MAX, 64)]
    }

    #[test]
    fn reads_what_the_server_builds() {
        assert_eq!(
            parse(&message(&cycles())),
            Profile {
                cycles: cycles(),
                damaged: 0
            }
        );
        assert_eq!(parse(&message(&[])), Profile::default());
    }

    #[test]
    fn skips_a_damaged_follower_and_keeps_the_rest() {
        let mut bytes = message(&cycles()[1..2]);
        let at = bytes
            .windows(4)
            .position(|four| four == spa_sys::SPA_PROFILER_followerBlock.to_ne_bytes())
            .unwrap();
        // Key, flags, head of the Struct, size of its first field; then its type.
        bytes[at + 20] = 77;
        let profile = parse(&bytes);
        assert_eq!(profile.damaged, 1);
        assert_eq!(profile.cycles[0].followers, &cycles()[1].followers[1..]);
    }

    #[test]
    fn skips_an_object_of_another_kind() {
        let mut bytes = message(&cycles()[..2]);
        // Head of the Struct, head of the Object.
        bytes[16] ^= 1;
        assert_eq!(
            parse(&bytes),
            Profile {
                cycles: cycles()[1..2].to_vec(),
                damaged: 1
            }
        );
    }

    #[test]
    fn survives_every_truncation_and_says_that_something_is_missing() {
        let bytes = message(&cycles()[..2]);
        // The last object's padding is not missed.
        for len in 0..bytes.len() - 8 {
            assert!(parse(&bytes[..len]).damaged > 0, "{len}");
        }
    }

    #[test]
    fn survives_every_flipped_bit() {
        let bytes = message(&cycles()[..2]);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            parse(&bytes);
        }
    }

    #[test]
    fn survives_noise() {
        let mut seed = 0x2545_f491_4f6c_dd1du64;
        for len in 0..4096 {
            let noise: Vec<u8> = (0..len)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    // Mostly small numbers, so that some sizes and types are plausible.
                    if seed & 3 == 0 {
                        (seed >> 32) as u8
                    } else {
                        (seed >> 32) as u8 & 15
                    }
                })
                .collect();
            parse(&noise);
        }
    }
}
