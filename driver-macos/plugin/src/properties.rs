//! Answers property requests out of the table: which row a request means, whether its sizes fit, what bytes it gets. Pure
//! but for the four answers that depend on the moment ([`Moment`]); pointers are `entry.rs`' business.

use crate::abi::codes::{self, Code, Status};
use crate::abi::{Address, ObjectId};
use crate::cf::Owned;
use crate::table::{Answer, Computed, Field, Object, ROWS, Row, Scope, Shape, record_size};

/// What the computed answers are computed from.
pub trait Moment {
    /// Whether any client runs IO.
    fn running(&self) -> bool;
    /// The diagnosis, as a property list.
    fn diag(&self) -> Option<Owned>;
    /// The path of the socket in the plug-in's own folder; empty if there is none now.
    fn socket(&self) -> String;
}

/// What a request for data gets.
#[derive(Debug)]
pub enum Data {
    /// These bytes.
    Bytes(Bytes),
    /// The address of this object, with a reference.
    Object(Owned),
}

/// Up to 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    bytes: [u8; 64],
    len: usize,
}

impl Bytes {
    fn new() -> Self {
        Self {
            bytes: [0; 64],
            len: 0,
        }
    }

    fn push(&mut self, field: Field, value: u32) {
        match field {
            Field::U32 => self.extend(&value.to_ne_bytes()),
            Field::F32 => self.extend(&(value as f32).to_ne_bytes()),
            Field::F64 => self.extend(&f64::from(value).to_ne_bytes()),
        }
    }

    /// Every answer of the table fits: its longest is 56 bytes.
    fn extend(&mut self, more: &[u8]) {
        let end = self.len + more.len();
        self.bytes[self.len..end].copy_from_slice(more);
        self.len = end;
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The row that answers; or what to say if none does.
pub fn find(object: ObjectId, address: &Address) -> Result<&'static Row, Status> {
    if ![Object::PlugIn, Object::Device, Object::Stream]
        .iter()
        .any(|it| *it as u32 == object)
    {
        return Err(Status::BAD_OBJECT);
    }
    ROWS.iter()
        .find(|row| {
            row.object as u32 == object
                && row.selector == address.selector
                && row.element == address.element
                && in_scope(row.scope, address.scope)
        })
        .ok_or(Status::UNKNOWN_PROPERTY)
}

/// A wildcard is for listeners, and no scope that anything could be asked in.
fn in_scope(row: Scope, asked: Code) -> bool {
    match row {
        Scope::One(scope) => scope == asked,
        Scope::Any => [
            codes::SCOPE_GLOBAL,
            codes::SCOPE_INPUT,
            codes::SCOPE_OUTPUT,
            codes::SCOPE_PLAY_THROUGH,
        ]
        .contains(&asked),
    }
}

/// The data, for a caller that has room for `room` bytes. `uid` reads the qualifier as a UID, and is asked only if the
/// property needs one.
pub fn get(
    row: &Row,
    room: u32,
    uid: impl FnOnce() -> Result<Option<String>, Status>,
    moment: &impl Moment,
) -> Result<Data, Status> {
    let list = matches!(row.shape, Shape::List(_));
    if !list && room < row.size {
        return Err(Status::BAD_SIZE);
    }
    let word = |word: u32| {
        let mut bytes = Bytes::new();
        bytes.push(Field::U32, word);
        Ok(Data::Bytes(bytes))
    };
    match &row.answer {
        Answer::Numbers(numbers) => Ok(Data::Bytes(encode(row.shape, numbers.as_slice(), room))),
        Answer::Text(text) => string(text),
        Answer::Computed(Computed::Running) => word(moment.running().into()),
        Answer::Computed(Computed::DeviceOfUid) => {
            let ours = uid()?.is_some_and(|uid| uid == device_uid());
            word(if ours { Object::Device as u32 } else { 0 })
        }
        Answer::Computed(Computed::Diag) => {
            moment.diag().map(Data::Object).ok_or(Status::UNSPECIFIED)
        }
        Answer::Computed(Computed::Socket) => string(&moment.socket()),
    }
}

fn string(text: &str) -> Result<Data, Status> {
    Owned::string(text)
        .map(Data::Object)
        .ok_or(Status::UNSPECIFIED)
}

/// As many whole records as fit.
fn encode(shape: Shape, numbers: &[u32], room: u32) -> Bytes {
    let mut bytes = Bytes::new();
    let (Shape::Record(fields) | Shape::List(fields)) = shape else {
        return bytes;
    };
    let fit = (room / record_size(fields)) as usize;
    for record in numbers.chunks_exact(fields.len()).take(fit) {
        for (field, number) in fields.iter().zip(record) {
            bytes.push(*field, *number);
        }
    }
    bytes
}

/// The UID by which everybody knows the device, for ever.
pub fn device_uid() -> &'static str {
    let row = ROWS
        .iter()
        .find(|row| row.object == Object::Device && row.selector == Code::of(b"uid "));
    match row.map(|row| row.answer) {
        Some(Answer::Text(uid)) => uid,
        _ => "",
    }
}

/// Whether a property may be set to these bytes. It may only to what it is already, so that there is nothing to do then.
pub fn set(row: &Row, bytes: &[u8]) -> Result<(), Status> {
    if !row.settable {
        return Err(Status::UNSUPPORTED);
    }
    if bytes.len() != row.size as usize {
        return Err(Status::BAD_SIZE);
    }
    let Answer::Numbers(numbers) = &row.answer else {
        return Err(Status::UNSUPPORTED);
    };
    if encode(row.shape, numbers.as_slice(), row.size).as_slice() != bytes {
        return Err(Status::UNSUPPORTED_FORMAT);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Now;
    impl Moment for Now {
        fn running(&self) -> bool {
            true
        }
        fn diag(&self) -> Option<Owned> {
            Owned::number(7)
        }
        fn socket(&self) -> String {
            "/tmp/socket".into()
        }
    }

    fn address(selector: &[u8; 4], scope: Code) -> Address {
        Address {
            selector: Code::of(selector),
            scope,
            element: 0,
        }
    }

    fn bytes(object: u32, selector: &[u8; 4], scope: Code, room: u32) -> Result<Vec<u8>, Status> {
        let row = find(object, &address(selector, scope))?;
        match get(row, room, || Ok(Some(device_uid().into())), &Now)? {
            Data::Bytes(bytes) => Ok(bytes.as_slice().to_vec()),
            Data::Object(_) => Ok(vec![0; 8]),
        }
    }

    #[test]
    fn every_row_answers_with_its_size_and_refuses_less_or_gives_whole_records() {
        for row in &ROWS {
            let all = get(row, row.size, || Ok(None), &Now).expect(row.name);
            let len = match all {
                Data::Bytes(bytes) => bytes.as_slice().len(),
                Data::Object(_) => size_of::<usize>(),
            };
            assert_eq!(len, row.size as usize, "{}", row.name);
            let less = row.size.saturating_sub(1);
            match (row.shape, get(row, less, || Ok(None), &Now)) {
                (Shape::List(fields), Ok(Data::Bytes(bytes))) => {
                    let record = record_size(fields) as usize;
                    assert_eq!(bytes.as_slice().len(), less as usize / record * record);
                }
                (Shape::Record(_) | Shape::Object, Err(status)) => {
                    assert_eq!(status, Status::BAD_SIZE, "{}", row.name);
                }
                (_, other) => panic!("{}: {other:?}", row.name),
            }
        }
    }

    #[test]
    fn no_two_rows_answer_the_same_request() {
        for (at, row) in ROWS.iter().enumerate() {
            let scope = match row.scope {
                Scope::Any => codes::SCOPE_GLOBAL,
                Scope::One(scope) => scope,
            };
            let request = Address {
                selector: row.selector,
                scope,
                element: row.element,
            };
            let found = find(row.object as u32, &request).expect(row.name);
            assert!(std::ptr::eq(found, &ROWS[at]), "{}", row.name);
            let others = ROWS.iter().filter(|other| {
                other.object == row.object
                    && other.selector == row.selector
                    && (other.scope == Scope::Any || row.scope == Scope::Any)
            });
            assert!(others.count() <= 1, "{}", row.name);
        }
    }

    #[test]
    fn scopes_elements_and_objects_that_are_not_there_get_nothing() {
        assert_eq!(
            bytes(2, b"dflt", codes::SCOPE_INPUT, 4),
            Ok(1_u32.to_ne_bytes().to_vec())
        );
        assert_eq!(
            bytes(2, b"dflt", codes::SCOPE_OUTPUT, 4),
            Ok(0_u32.to_ne_bytes().to_vec())
        );
        for (object, selector, scope, why) in [
            (2, b"dflt", codes::SCOPE_GLOBAL, Status::UNKNOWN_PROPERTY),
            (2, b"livn", Code::of(b"****"), Status::UNKNOWN_PROPERTY),
            (2, b"****", codes::SCOPE_GLOBAL, Status::UNKNOWN_PROPERTY),
            (3, b"livn", codes::SCOPE_GLOBAL, Status::UNKNOWN_PROPERTY),
            (0, b"clas", codes::SCOPE_GLOBAL, Status::BAD_OBJECT),
            (4, b"clas", codes::SCOPE_GLOBAL, Status::BAD_OBJECT),
            (u32::MAX, b"clas", codes::SCOPE_GLOBAL, Status::BAD_OBJECT),
        ] {
            assert_eq!(bytes(object, selector, scope, 64), Err(why), "{selector:?}");
        }
        let mut channel = address(b"livn", codes::SCOPE_GLOBAL);
        channel.element = 1;
        assert_eq!(find(2, &channel).err(), Some(Status::UNKNOWN_PROPERTY));
    }

    #[test]
    fn the_format_is_laid_out_as_the_header_says() {
        let format = bytes(3, b"sfmt", codes::SCOPE_GLOBAL, 40).expect("it answers");
        let mut expected = 48_000_f64.to_ne_bytes().to_vec();
        for word in [u32::from_be_bytes(*b"lpcm"), 9, 8, 1, 8, 2, 32, 0] {
            expected.extend(word.to_ne_bytes());
        }
        assert_eq!(format, expected);
    }

    #[test]
    fn our_uid_is_our_device_and_no_other_is() {
        let row = find(1, &address(b"uidd", codes::SCOPE_GLOBAL)).expect("it is there");
        for (uid, device) in [(Some(device_uid()), 2_u32), (Some("BuiltIn"), 0), (None, 0)] {
            match get(row, 4, || Ok(uid.map(str::to_owned)), &Now) {
                Ok(Data::Bytes(bytes)) => assert_eq!(bytes.as_slice(), device.to_ne_bytes()),
                other => panic!("{other:?}"),
            }
        }
        let refused = get(row, 4, || Err(Status::BAD_SIZE), &Now);
        assert_eq!(refused.err(), Some(Status::BAD_SIZE));
        assert!(!device_uid().is_empty());
    }

    #[test]
    fn only_the_present_format_and_rate_can_be_set() {
        let rate = find(2, &address(b"nsrt", codes::SCOPE_GLOBAL)).expect("it is there");
        assert_eq!(set(rate, &48_000_f64.to_ne_bytes()), Ok(()));
        for other in [44_100.0, f64::NAN, -48_000.0, 0.0, f64::INFINITY] {
            assert_eq!(
                set(rate, &other.to_ne_bytes()),
                Err(Status::UNSUPPORTED_FORMAT)
            );
        }
        assert_eq!(set(rate, &[0; 7]), Err(Status::BAD_SIZE));
        assert_eq!(set(rate, &[0; 9]), Err(Status::BAD_SIZE));
        let format = find(3, &address(b"pft ", codes::SCOPE_GLOBAL)).expect("it is there");
        let mut same = bytes(3, b"pft ", codes::SCOPE_GLOBAL, 40).expect("it answers");
        assert_eq!(set(format, &same), Ok(()));
        same[28] = 1; // one channel
        assert_eq!(set(format, &same), Err(Status::UNSUPPORTED_FORMAT));
        let alive = find(2, &address(b"livn", codes::SCOPE_GLOBAL)).expect("it is there");
        assert_eq!(set(alive, &1_u32.to_ne_bytes()), Err(Status::UNSUPPORTED));
    }
}
