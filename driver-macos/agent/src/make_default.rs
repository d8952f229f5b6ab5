//! Making the virtual mic the default input: what `truemute use` does. Needs no daemon.

use std::time::{Duration, Instant};

use crate::system::{System, SystemError, VIRTUAL_MIC};

/// The system changes the default some time after it was asked to.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes TrueMute's own device the default input, and returns when the system says that it is.
///
/// # Errors
/// There is no such device, or the system keeps another default.
pub fn make_default(system: &dyn System) -> Result<(), SystemError> {
    system.set_default_input(VIRTUAL_MIC)?;
    let began = Instant::now();
    while system.default_input()?.as_deref() != Some(VIRTUAL_MIC) {
        if began.elapsed() > PATIENCE {
            return Err(SystemError::NotDefault);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::{Mic, Simulated};

    #[test]
    fn it_is_the_default_afterwards_or_an_error() {
        let system = Simulated::new(vec![Mic::new("mic")]);
        assert_eq!(
            make_default(&system),
            Err(SystemError::NoDevice(VIRTUAL_MIC.into()))
        );
        system.plug(Mic::new(VIRTUAL_MIC));
        assert_eq!(make_default(&system), Ok(()));
        assert_eq!(system.default_input(), Ok(Some(VIRTUAL_MIC.into())));
    }
}
