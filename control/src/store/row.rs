//! How numbers, words and names lie in the rows of the tables; the same in all of them.

use std::path::PathBuf;

use rusqlite::Row;
use serde::de::IntoDeserializer;
use serde::de::value::Error as WordError;
use serde::{Deserialize, Serialize};
use truemute_core::observed::{Puller, Tally, Who};

/// SQLite's integers are signed; no honest count comes near their end.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Identifiers keep all 64 bits.
pub(super) fn bits(number: u64) -> i64 {
    number.cast_signed()
}

/// The contract's word for a value of one of its enums.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// Three columns from `first` on.
pub(super) fn tally(row: &Row<'_>, first: usize) -> rusqlite::Result<Tally> {
    Ok(Tally {
        pulls: row.get(first)?,
        frames: row.get(first + 1)?,
        nanoseconds: row.get(first + 2)?,
    })
}

/// The value that a word of the contract stands for.
pub(super) fn read_word<T: for<'de> Deserialize<'de>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    T::deserialize(text.as_str().into_deserializer()).map_err(|cause: WordError| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(cause),
        )
    })
}

/// Nine columns from the third on, which the tables of clients and of bypasses share.
pub(super) fn who(row: &Row<'_>) -> rusqlite::Result<Who> {
    let puller = match (row.get(7)?, row.get(8)?) {
        (Some(pid), Some(name)) => Some(Puller { pid, name }),
        _ => None,
    };
    Ok(Who {
        app: row.get(2)?,
        stream: row.get(3)?,
        pid: row.get(4)?,
        executable: row.get::<_, Option<String>>(5)?.map(PathBuf::from),
        identity: read_word(row, 6)?,
        puller,
        api: read_word(row, 9)?,
        purpose: read_word(row, 10)?,
    })
}
