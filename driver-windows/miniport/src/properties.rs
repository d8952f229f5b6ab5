//! What the filters answer to property requests: which format a pin takes, which it proposes, and what its jack is like. PASSIVE_LEVEL.
//! Sizes are negotiated as PortCls does: no room at all asks for the size, too little is an error.

use crate::abi::ks::{PropertyRequest, TYPE_BASIC_SUPPORT, TYPE_GET, TYPE_SET};
use crate::abi::put;
use crate::abi::status::{
    BUFFER_OVERFLOW, BUFFER_TOO_SMALL, INVALID_DEVICE_REQUEST, INVALID_PARAMETER, NO_MATCH,
    NOT_SUPPORTED, SUCCESS, Status,
};
use crate::filters::{TOPOLOGY_BRIDGE, TOPOLOGY_MICROPHONE, WAVE_BRIDGE, WAVE_HOST};
use crate::format::{self, Mode};
use core::slice;

/// `KSMULTIPLE_ITEM` and one `KSJACK_DESCRIPTION`: front left and right, black, no connector, no place, in the primary box, built in
/// (`ePortConnIntegratedDevice`) and connected.
#[expect(
    clippy::indexing_slicing,
    reason = "only evaluated when this is compiled"
)]
const JACK: [u8; 36] = {
    let words: [u32; 9] = [36, 1, 3, 0, 0, 14, 0, 1, 1];
    let mut bytes = [0; 36];
    let (mut at, mut n) = (0, 0);
    while n < words.len() {
        at = put(&mut bytes, at, &words[n].to_le_bytes());
        n += 1;
    }
    bytes
};

/// `KSMULTIPLE_ITEM` and one `KSJACK_DESCRIPTION2`: no state, and no capabilities.
const JACK_2: [u8; 16] = [16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A request, its pointers made slices.
struct Request<'r> {
    raw: &'r mut PropertyRequest,
    /// The number of the pin.
    pin: u32,
    /// What follows the pin in the request.
    attributes: &'r [u8],
    /// What the property can do.
    flags: u32,
}

impl<'r> Request<'r> {
    /// Nothing for a request that names no pin.
    ///
    /// # Safety
    /// It is a request as PortCls hands it to a handler.
    unsafe fn new(request: *mut PropertyRequest) -> Option<Self> {
        // SAFETY: the caller vouches for the request and all that it points to.
        let raw = unsafe { request.as_mut() }?;
        if raw.instance.is_null() {
            return None;
        }
        // SAFETY: PortCls has copied the instance into memory of the kernel, of this size.
        let instance = unsafe { slice::from_raw_parts(raw.instance, raw.instance_size as usize) };
        // SAFETY: as above; every request has the item of the table that it was found by.
        let flags = unsafe { raw.item.as_ref() }?.flags;
        // `KSP_PIN` behind `KSPROPERTY`: the pin, and a number that is reserved.
        let (pin, rest) = instance.split_first_chunk()?;
        let attributes = rest.get(4..).unwrap_or_default();
        Some(Self {
            pin: u32::from_le_bytes(*pin),
            attributes,
            flags,
            raw,
        })
    }

    /// Room for so many bytes of value.
    fn room(&mut self, bytes: usize) -> Result<&mut [u8], Status> {
        let size = u32::try_from(bytes).map_err(|_| INVALID_PARAMETER)?;
        if self.raw.value_size == 0 {
            self.raw.value_size = size;
            return Err(BUFFER_OVERFLOW);
        }
        if self.raw.value_size < size || self.raw.value.is_null() {
            return Err(BUFFER_TOO_SMALL);
        }
        // SAFETY: the value has `value_size` bytes of the kernel's memory, which are at least so many.
        Ok(unsafe { slice::from_raw_parts_mut(self.raw.value, bytes) })
    }

    fn asks(&self, verb: u32) -> bool {
        self.raw.verb & verb != 0
    }

    /// Answers with these bytes.
    fn give(&mut self, parts: &[&[u8]]) -> Status {
        let bytes = parts
            .iter()
            .fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let mut room = match self.room(bytes) {
            Ok(room) => room,
            Err(status) => return status,
        };
        for part in parts {
            let Some((place, rest)) = room.split_at_mut_checked(part.len()) else {
                return INVALID_PARAMETER;
            };
            place.copy_from_slice(part);
            room = rest;
        }
        self.raw.value_size = u32::try_from(bytes).unwrap_or(0);
        SUCCESS
    }

    /// What can be done with the property: the flags alone, or a `KSPROPERTY_DESCRIPTION` without values.
    fn support(&mut self) -> Status {
        const DESCRIPTION: u32 = 40;
        let flags = self.flags.to_le_bytes();
        match self.raw.value_size {
            4..DESCRIPTION => self.give(&[&flags]),
            _ => self.give(&[&flags, &DESCRIPTION.to_le_bytes(), &[0; 32]]),
        }
    }
}

/// `KSPROPERTY_PIN_PROPOSEDATAFORMAT`: whether the pin takes a format.
///
/// # Safety
/// PortCls calls it.
pub unsafe extern "system" fn propose(request: *mut PropertyRequest) -> Status {
    // SAFETY: PortCls calls it.
    let Some(mut request) = (unsafe { Request::new(request) }) else {
        return INVALID_PARAMETER;
    };
    match request.pin {
        WAVE_HOST if request.asks(TYPE_BASIC_SUPPORT) => request.support(),
        WAVE_HOST if request.asks(TYPE_SET) => {
            let bytes = request.raw.value_size as usize;
            match request.room(if bytes < format::BYTES {
                format::BYTES
            } else {
                bytes
            }) {
                Ok(value) if format::is_ours(value) => SUCCESS,
                Ok(_) => NO_MATCH,
                Err(status) => status,
            }
        }
        WAVE_HOST => INVALID_DEVICE_REQUEST,
        WAVE_BRIDGE => NOT_SUPPORTED,
        _ => INVALID_PARAMETER,
    }
}

/// `KSPROPERTY_PIN_PROPOSEDATAFORMAT2`: which format the pin proposes for a signal processing mode. The answer is the format, and the
/// attributes of the question.
///
/// # Safety
/// PortCls calls it.
pub unsafe extern "system" fn proposed(request: *mut PropertyRequest) -> Status {
    // SAFETY: PortCls calls it.
    let Some(mut request) = (unsafe { Request::new(request) }) else {
        return INVALID_PARAMETER;
    };
    match request.pin {
        WAVE_HOST if request.asks(TYPE_BASIC_SUPPORT) => request.support(),
        WAVE_HOST if request.asks(TYPE_GET) => {
            let attributes = request.attributes;
            match format::mode_of(attributes) {
                None => INVALID_PARAMETER,
                // What is said of a pin that only knows raw.
                Some(Mode::Default | Mode::Other) => NOT_SUPPORTED,
                Some(Mode::Raw) => request.give(&[&format::WITH_ATTRIBUTES, attributes]),
            }
        }
        WAVE_HOST => INVALID_DEVICE_REQUEST,
        WAVE_BRIDGE => NOT_SUPPORTED,
        _ => INVALID_PARAMETER,
    }
}

/// `KSPROPERTY_JACK_DESCRIPTION` and its successor: a device that is built in, and plugged in.
///
/// # Safety
/// PortCls calls it.
pub unsafe extern "system" fn jack(request: *mut PropertyRequest) -> Status {
    const SECOND: u32 = 2;
    // SAFETY: PortCls calls it.
    let Some(mut request) = (unsafe { Request::new(request) }) else {
        return INVALID_PARAMETER;
    };
    // SAFETY: every request has the item of the table that it was found by.
    let second = unsafe { request.raw.item.as_ref() }.is_some_and(|item| item.id == SECOND);
    match request.pin {
        TOPOLOGY_MICROPHONE if request.asks(TYPE_BASIC_SUPPORT) => request.support(),
        TOPOLOGY_MICROPHONE if request.asks(TYPE_GET) && second => request.give(&[&JACK_2]),
        TOPOLOGY_MICROPHONE if request.asks(TYPE_GET) => request.give(&[&JACK]),
        TOPOLOGY_MICROPHONE => INVALID_DEVICE_REQUEST,
        // Only the pin of the endpoint has a jack.
        TOPOLOGY_BRIDGE => NOT_SUPPORTED,
        _ => INVALID_PARAMETER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::guid;
    use crate::abi::ks::PropertyItem;
    use core::ptr::{null, null_mut};

    type Handler = unsafe extern "system" fn(*mut PropertyRequest) -> Status;

    /// What came of a request, the value's size as the handler left it, and the value.
    fn ask(
        handler: Handler,
        id: u32,
        verb: u32,
        instance: &[u8],
        room: u32,
        value: &[u8],
    ) -> (Status, u32, Vec<u8>) {
        let item = PropertyItem {
            set: null(),
            id,
            flags: TYPE_GET | TYPE_BASIC_SUPPORT,
            handler: None,
        };
        let mut bytes = value.to_vec();
        bytes.resize((room as usize).max(value.len()), 0xcc);
        let mut request = PropertyRequest {
            major_target: null_mut(),
            minor_target: null_mut(),
            node: u32::MAX,
            item: &raw const item,
            verb,
            instance_size: instance.len() as u32,
            instance: instance.as_ptr(),
            value_size: room,
            value: bytes.as_mut_ptr(),
            irp: null_mut(),
        };
        // SAFETY: it is a request as PortCls makes it, of memory that lives.
        let status = unsafe { handler(&raw mut request) };
        (status, request.value_size, bytes)
    }

    fn pin(number: u32, attributes: &[u8]) -> Vec<u8> {
        [&number.to_le_bytes()[..], &[0; 4], attributes].concat()
    }

    fn mode(mode: guid::Guid) -> Vec<u8> {
        let head = [48_u32, 1, 40, 0].map(u32::to_le_bytes);
        [
            head.as_flattened(),
            &guid::ATTRIBUTE_SIGNAL_PROCESSING_MODE.bytes(),
            &mode.bytes(),
        ]
        .concat()
    }

    #[test]
    fn the_host_pin_takes_the_one_format() {
        let set = |number, value: &[u8]| {
            ask(
                propose,
                14,
                TYPE_SET,
                &pin(number, &[]),
                value.len() as u32,
                value,
            )
            .0
        };
        assert_eq!(set(WAVE_HOST, &format::FORMAT), SUCCESS);
        let mut other = format::FORMAT;
        other[68] = 0x44;
        assert_eq!(set(WAVE_HOST, &other), NO_MATCH);
        assert_eq!(set(WAVE_HOST, &format::FORMAT[..100]), BUFFER_TOO_SMALL);
        assert_eq!(set(WAVE_HOST, &[]), BUFFER_OVERFLOW);
        assert_eq!(set(WAVE_BRIDGE, &format::FORMAT), NOT_SUPPORTED);
        assert_eq!(set(7, &format::FORMAT), INVALID_PARAMETER);
        assert_eq!(
            ask(propose, 14, TYPE_GET, &pin(WAVE_HOST, &[]), 104, &[]).0,
            INVALID_DEVICE_REQUEST
        );
    }

    #[test]
    fn the_host_pin_proposes_the_format_for_raw_with_the_attributes_of_the_question() {
        let raw = mode(guid::MODE_RAW);
        let get = |attributes: &[u8], room| {
            ask(
                proposed,
                15,
                TYPE_GET,
                &pin(WAVE_HOST, attributes),
                room,
                &[],
            )
        };
        assert_eq!(get(&raw, 0), (BUFFER_OVERFLOW, 152, vec![]));
        assert_eq!(get(&raw, 151).0, BUFFER_TOO_SMALL);
        let (status, size, value) = get(&raw, 160);
        assert_eq!((status, size), (SUCCESS, 152));
        assert_eq!(value[..152], [&format::WITH_ATTRIBUTES[..], &raw].concat());
        assert_eq!(value[152..], [0xcc; 8], "no byte more");
        assert_eq!(get(&mode(guid::MODE_DEFAULT), 160).0, NOT_SUPPORTED);
        assert_eq!(get(&raw[..40], 160).0, INVALID_PARAMETER);
        assert_eq!(get(&[], 160).0, INVALID_PARAMETER);
    }

    #[test]
    fn the_microphones_pin_has_a_jack() {
        let get = |id, number, room| ask(jack, id, TYPE_GET, &pin(number, &[]), room, &[]);
        assert_eq!(get(1, TOPOLOGY_MICROPHONE, 0).1, 36);
        assert_eq!(
            get(1, TOPOLOGY_MICROPHONE, 36),
            (SUCCESS, 36, JACK.to_vec())
        );
        assert_eq!(
            get(2, TOPOLOGY_MICROPHONE, 16),
            (SUCCESS, 16, JACK_2.to_vec())
        );
        assert_eq!(get(1, TOPOLOGY_BRIDGE, 36).0, NOT_SUPPORTED);
        assert_eq!(get(1, 9, 36).0, INVALID_PARAMETER);
        // Who names the pin alone is understood too.
        assert_eq!(ask(jack, 1, TYPE_GET, &[0; 4], 36, &[]).0, SUCCESS);
        assert_eq!(
            ask(jack, 1, TYPE_GET, &[0; 3], 36, &[]).0,
            INVALID_PARAMETER
        );
    }

    #[test]
    fn support_is_told_as_flags_or_as_a_description() {
        let flags = (TYPE_GET | TYPE_BASIC_SUPPORT).to_le_bytes();
        let get = |room| ask(jack, 1, TYPE_BASIC_SUPPORT, &pin(0, &[]), room, &[]);
        assert_eq!(get(4), (SUCCESS, 4, flags.to_vec()));
        let (status, size, value) = get(40);
        assert_eq!((status, size), (SUCCESS, 40));
        assert_eq!(
            (&value[..4], &value[4..8]),
            (&flags[..], &40_u32.to_le_bytes()[..])
        );
        assert_eq!(get(0).0, BUFFER_OVERFLOW);
        assert_eq!(get(3).0, BUFFER_TOO_SMALL);
    }
}
