//! Which part of the history is asked for.

use super::row::bits;

/// Which part of the history to sum up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// From the minute that this time lies in, in nanoseconds since 1970.
    pub since_ns: u64,
    /// Only these instances of the backend; all if absent.
    pub instances: Option<Vec<u64>>,
}

impl Window {
    /// Its instances as a JSON array, as the queries take them.
    pub(super) fn instances(&self) -> Option<String> {
        let instances = self.instances.as_ref()?;
        let numbers: Vec<String> = instances
            .iter()
            .map(|number| bits(*number).to_string())
            .collect();
        Some(format!("[{}]", numbers.join(",")))
    }
}
