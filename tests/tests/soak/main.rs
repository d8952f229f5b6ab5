//! A soak: random toggles, clients and faults for three minutes (SOAK_SECONDS), on each server. Nothing is heard but while
//! live, no cycle is lost outside faults without being flagged, counts are the clients' own or flagged, and memory does
//! not grow. The seed is printed; SOAK_SEED repeats it, as far as the machine's timing lets it.

mod life;
mod set;

use std::time::Duration;

use truemute_tests::servers::Version;
use truemute_tests::stage::each;

use crate::life::Life;

#[test]
fn nothing_is_heard_lost_or_forgotten() {
    let seconds = number("SOAK_SECONDS").unwrap_or(180);
    let seed = number("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("SOAK_SECONDS={seconds} SOAK_SEED={seed}");
    each(&[Version::Installed, Version::Debian13], |version| {
        if let Some(mut life) = Life::begin(*version, seed) {
            life.go_on(Duration::from_secs(seconds));
            life.end();
        }
    });
}

/// A number from the environment.
///
/// # Panics
/// If it is none.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a whole number: {text}")),
    )
}
