//! The property table, `properties.tsv`, made into rows while this compiles: a malformed row, an unknown word or a size
//! that does not fit its answer is a compile error. What a row means for a request is in `properties.rs`.

use crate::abi::codes::{Code, SCOPE_GLOBAL, SCOPE_INPUT, SCOPE_OUTPUT};

/// The committed table: a line of headings, then a row a line, columns divided by tabs.
pub const TEXT: &str = include_str!("../properties.tsv");

/// The headings, in order.
pub const HEADINGS: &str =
    "object\tscope\telement\tselector\tname\ttype\tsize\tsettable\tanswer\tsource";

/// The objects that the plug-in publishes. Their numbers are those of the host interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Object {
    /// `kAudioObjectPlugInObject`, which is always 1.
    PlugIn = 1,
    /// The device.
    Device = 2,
    /// Its one stream.
    Stream = 3,
}

/// Where a row answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the global, input, output and play-through scope alike.
    Any,
    /// In one.
    One(Code),
}

/// What kind of field a number becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `UInt32`, also identifiers and four-character codes.
    U32,
    /// `Float32`.
    F32,
    /// `Float64`.
    F64,
}

impl Field {
    const fn size(self) -> u32 {
        match self {
            Self::U32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// The type of a property's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One record of these fields, all or nothing.
    Record(&'static [Field]),
    /// Records of these fields. A caller with less room gets as many whole ones as fit.
    List(&'static [Field]),
    /// A CoreFoundation object that the caller has to release.
    Object,
}

/// What a row answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These numbers, each as its field.
    Numbers(Numbers),
    /// A CFString.
    Text(&'static str),
    /// Depends on the moment.
    Computed(Computed),
}

/// Answers that depend on the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Computed {
    /// Whether any client runs IO.
    Running,
    /// The device whose UID the qualifier holds, or 0.
    DeviceOfUid,
    /// What the plug-in knows about itself (`diag.rs`).
    Diag,
    /// Where the bridge listens in the plug-in's own folder.
    Socket,
}

/// Up to [`Numbers::MOST`] numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    values: [u32; Self::MOST],
    len: usize,
}

impl Numbers {
    /// The longest answer, a channel layout for two channels, has 13.
    const MOST: usize = 13;

    /// One of them; 0 beyond the last.
    pub const fn get(&self, at: usize) -> u32 {
        if at < self.len { self.values[at] } else { 0 }
    }

    /// The numbers.
    pub fn as_slice(&self) -> &[u32] {
        self.values.get(..self.len).unwrap_or(&[])
    }
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose property it is.
    pub object: Object,
    /// In which scopes.
    pub scope: Scope,
    /// Of which element.
    pub element: u32,
    /// The property.
    pub selector: Code,
    /// Its name in the headers.
    pub name: &'static str,
    /// The name of its type in the headers; with `[]` for a list.
    pub kind: &'static str,
    /// The same, taken apart.
    pub shape: Shape,
    /// Bytes of the whole answer.
    pub size: u32,
    /// Whether it can be set at all (if only to the value that it has).
    pub settable: bool,
    /// The answer.
    pub answer: Answer,
    /// Where the row comes from.
    pub source: &'static str,
}

/// All rows, in the order of the file.
pub static ROWS: [Row; COUNT] = rows();

const COUNT: usize = {
    let mut lines = 0;
    let mut rest = TEXT.as_bytes();
    while let Some((_, after)) = cut(rest, b'\n') {
        lines += 1;
        rest = after;
    }
    assert!(rest.is_empty(), "the last line of the table has no end");
    lines - 1
};

const fn rows() -> [Row; COUNT] {
    let Some((headings, mut rest)) = cut(TEXT.as_bytes(), b'\n') else {
        panic!("the table has no headings");
    };
    assert!(same(headings, HEADINGS), "the table has other headings");
    let mut rows = [const { None::<Row> }; COUNT];
    let mut at = 0;
    while at < COUNT {
        let Some((line, after)) = cut(rest, b'\n') else {
            panic!("the table ends early");
        };
        rows[at] = Some(row(line));
        rest = after;
        at += 1;
    }
    let Some(first) = rows[0] else {
        panic!("the table has no rows");
    };
    let mut all = [first; COUNT];
    at = 0;
    while at < COUNT {
        if let Some(row) = rows[at] {
            all[at] = row;
        }
        at += 1;
    }
    all
}

const fn row(line: &'static [u8]) -> Row {
    let (object, line) = column(line);
    let (scope, line) = column(line);
    let (element, line) = column(line);
    let (selector, line) = column(line);
    let (name, line) = column(line);
    let (kind, line) = column(line);
    let (size, line) = column(line);
    let (settable, line) = column(line);
    let (answer, source) = column(line);
    let shape = shape(kind);
    let row = Row {
        object: if same(object, "plugin") {
            Object::PlugIn
        } else if same(object, "device") {
            Object::Device
        } else if same(object, "stream") {
            Object::Stream
        } else {
            panic!("an object that is none of plugin, device, stream")
        },
        scope: if same(scope, "any") {
            Scope::Any
        } else if same(scope, "global") {
            Scope::One(SCOPE_GLOBAL)
        } else if same(scope, "input") {
            Scope::One(SCOPE_INPUT)
        } else if same(scope, "output") {
            Scope::One(SCOPE_OUTPUT)
        } else {
            panic!("a scope that is none of any, global, input, output")
        },
        element: number(element),
        selector: Code(number(selector)),
        name: text(name),
        kind: text(kind),
        shape,
        size: number(size),
        settable: if same(settable, "yes") {
            true
        } else if same(settable, "no") {
            false
        } else {
            panic!("settable is yes or no")
        },
        answer: parse_answer(answer, shape),
        source: text(source),
    };
    assert!(!source.is_empty(), "a row without a source");
    assert!(
        row.size == size_of_answer(&row),
        "a size that does not fit the answer"
    );
    row
}

/// The types that the table may use, with their fields as the headers declare them.
const fn shape(kind: &[u8]) -> Shape {
    use Field::{F32, F64, U32};
    const ONE: &[Field] = &[U32];
    const FORMAT: &[Field] = &[F64, U32, U32, U32, U32, U32, U32, U32, U32];
    const RANGED: &[Field] = &[F64, U32, U32, U32, U32, U32, U32, U32, U32, F64, F64];
    const LAYOUT: &[Field] = &[
        U32, U32, U32, U32, U32, F32, F32, F32, U32, U32, F32, F32, F32,
    ];
    if same(kind, "UInt32") || same(kind, "AudioObjectID") || same(kind, "AudioClassID") {
        Shape::Record(ONE)
    } else if same(kind, "AudioObjectID[]") {
        Shape::List(ONE)
    } else if same(kind, "UInt32[2]") {
        Shape::Record(&[U32, U32])
    } else if same(kind, "Float64") {
        Shape::Record(&[F64])
    } else if same(kind, "AudioValueRange[]") {
        Shape::List(&[F64, F64])
    } else if same(kind, "AudioStreamBasicDescription") {
        Shape::Record(FORMAT)
    } else if same(kind, "AudioStreamRangedDescription[]") {
        Shape::List(RANGED)
    } else if same(kind, "AudioChannelLayout") {
        Shape::Record(LAYOUT)
    } else if same(kind, "AudioServerPlugInCustomPropertyInfo[]") {
        Shape::List(&[U32, U32, U32])
    } else if same(kind, "CFString") || same(kind, "CFPropertyList") {
        Shape::Object
    } else {
        panic!("a type that the table does not know")
    }
}

/// Bytes of one record.
pub const fn record_size(fields: &[Field]) -> u32 {
    let (mut at, mut size) = (0, 0);
    while at < fields.len() {
        size += fields[at].size();
        at += 1;
    }
    size
}

const fn size_of_answer(row: &Row) -> u32 {
    match (row.shape, &row.answer) {
        (Shape::Object, Answer::Text(_) | Answer::Computed(_)) => size_of::<usize>() as u32,
        (Shape::Record(fields), Answer::Computed(_)) => record_size(fields),
        (Shape::Record(fields), Answer::Numbers(numbers)) => {
            assert!(
                numbers.len == fields.len(),
                "a record has as many numbers as fields"
            );
            record_size(fields)
        }
        (Shape::List(fields), Answer::Numbers(numbers)) => {
            assert!(
                numbers.len.is_multiple_of(fields.len()),
                "a list has whole records"
            );
            (numbers.len / fields.len()) as u32 * record_size(fields)
        }
        _ => panic!("an answer that does not fit its type"),
    }
}

const fn parse_answer(answer: &'static [u8], shape: Shape) -> Answer {
    if let Some((b'@', word)) = answer.split_first() {
        return Answer::Computed(if same(word, "running") {
            Computed::Running
        } else if same(word, "device-of-uid") {
            Computed::DeviceOfUid
        } else if same(word, "diag") {
            Computed::Diag
        } else if same(word, "socket") {
            Computed::Socket
        } else {
            panic!("a computed answer that there is not")
        });
    }
    if let Shape::Object = shape {
        return Answer::Text(text(answer));
    }
    let mut numbers = Numbers {
        values: [0; Numbers::MOST],
        len: 0,
    };
    let mut rest = answer;
    while !rest.is_empty() {
        // A code may hold a space, a number never does.
        let end = if rest[0] == b'\'' {
            6
        } else {
            find(rest, b' ')
        };
        let (word, after) = rest.split_at(end);
        numbers.values[numbers.len] = number(word);
        numbers.len += 1;
        rest = match after.split_first() {
            Some((b' ', after)) => after,
            Some(_) => panic!("numbers are divided by one space"),
            None => after,
        };
    }
    Answer::Numbers(numbers)
}

const fn number(word: &[u8]) -> u32 {
    if let [b'\'', a, b, c, d, b'\''] = word {
        return u32::from_be_bytes([*a, *b, *c, *d]);
    }
    assert!(!word.is_empty(), "a number is missing");
    let (mut at, mut value) = (0, 0_u32);
    while at < word.len() {
        assert!(word[at].is_ascii_digit(), "a number has digits only");
        value = value * 10 + (word[at] - b'0') as u32;
        at += 1;
    }
    value
}

const fn column(line: &'static [u8]) -> (&'static [u8], &'static [u8]) {
    match cut(line, b'\t') {
        Some(columns) => columns,
        None => panic!("a row has too few columns"),
    }
}

const fn text(bytes: &'static [u8]) -> &'static str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("the table is UTF-8"),
    }
}

/// What is before the first `end`, and what is after it.
const fn cut(bytes: &'static [u8], end: u8) -> Option<(&'static [u8], &'static [u8])> {
    let at = find(bytes, end);
    if at == bytes.len() {
        return None;
    }
    let (before, after) = bytes.split_at(at);
    Some((before, after.split_at(1).1))
}

const fn find(bytes: &[u8], wanted: u8) -> usize {
    let mut at = 0;
    while at < bytes.len() && bytes[at] != wanted {
        at += 1;
    }
    at
}

const fn same(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() && at < text.len() && bytes[at] == text[at] {
        at += 1;
    }
    at == bytes.len() && at == text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use truemute_feeder::{Feeder, Format, Pacing};

    fn input(name: &str) -> u32 {
        let mut rows = ROWS
            .iter()
            .filter(|row| row.scope == Scope::One(SCOPE_INPUT));
        match rows.find(|row| row.name == name).map(|row| row.answer) {
            Some(Answer::Numbers(numbers)) => numbers.as_slice()[0],
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Who writes the frames and who promises when they can be read are two programs.
    #[test]
    fn latency_and_safety_offset_are_what_the_feeder_keeps() {
        let format = Format {
            rate: 48_000,
            channels: 1,
            largest_block: 512,
        };
        let pacing = Pacing::default();
        assert_eq!(
            pacing.read_behind,
            input("kAudioDevicePropertySafetyOffset")
        );
        let feeder = Feeder::new(format, pacing).expect("an ordinary format");
        assert_eq!(feeder.delay_frames(), input("kAudioDevicePropertyLatency"));
    }
}
