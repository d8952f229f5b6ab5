//! What fuzzing feeds (fuzz/): requests for properties, as any process on the machine can send them through the HAL. The
//! pointers around them are the business of the host in C, which runs under AddressSanitizer.

use crate::abi::Address;
use crate::abi::codes::{Code, SCOPE_GLOBAL, SCOPE_INPUT, SCOPE_OUTPUT};
use crate::cf::Owned;
use crate::properties::{self, Data, Moment};
use crate::table::ROWS;

struct Idle;

impl Moment for Idle {
    fn running(&self) -> bool {
        false
    }

    fn diag(&self) -> Option<Owned> {
        Owned::string("")
    }

    fn socket(&self) -> String {
        String::new()
    }
}

/// Asks for a property, with any room, and sets it to any bytes. No answer may be longer than its room, and no property may
/// be set to another value than its own.
pub fn property_request(bytes: &[u8]) {
    let Some((head, value)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let [object, selector, scope, element, room @ ..] = *head;
    // Half of the requests name what is there, so that they get beyond the search.
    let row = ROWS.get(usize::from(selector));
    let known = [SCOPE_GLOBAL, SCOPE_INPUT, SCOPE_OUTPUT];
    let address = Address {
        selector: row.map_or(Code(selector.into()), |row| row.selector),
        scope: known
            .get(usize::from(scope))
            .copied()
            .unwrap_or(Code(scope.into())),
        element: element.into(),
    };
    let Ok(row) = properties::find(object.into(), &address) else {
        return;
    };
    let room = u32::from_le_bytes(room);
    let uid = || Ok(std::str::from_utf8(value).ok().map(str::to_owned));
    match properties::get(row, room, uid, &Idle) {
        Ok(Data::Bytes(data)) => assert!(data.as_slice().len() <= room as usize),
        Ok(Data::Object(_)) => assert!(room as usize >= size_of::<usize>()),
        Err(_) => {}
    }
    if properties::set(row, value).is_ok() {
        match properties::get(row, row.size, uid, &Idle) {
            Ok(Data::Bytes(present)) => assert_eq!(present.as_slice(), value),
            other => panic!("{other:?} was set"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row in every object and scope, and with it bytes of every length that a property has.
    #[test]
    fn no_request_is_too_odd() {
        let format = 48_000_f64.to_ne_bytes();
        for object in 0..5 {
            for selector in 0..=255 {
                for scope in 0..4 {
                    for room in [0, 3, 4, 7, 8, 40, 56, 64, 255] {
                        let mut request = vec![object, selector, scope, 0, room, 0, 0, 0];
                        property_request(&request);
                        request.extend(format);
                        property_request(&request);
                    }
                }
            }
        }
    }
}
