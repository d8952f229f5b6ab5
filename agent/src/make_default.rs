//! Making the virtual mic the default input: what `truemute use` does. Needs no daemon.

use std::time::{Duration, Instant};

use crate::system::{Role, System, SystemError};

/// The system changes the default some time after it was asked to.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes TrueMute's own device the default input, and returns when the system says that it is.
///
/// # Errors
/// There is no such device, or the system keeps another default.
pub fn make_default(system: &dyn System) -> Result<(), SystemError> {
    let inputs = system.inputs()?;
    let ours = inputs.iter().find(|input| input.role == Role::VirtualMic);
    let names = system.names();
    let absent = || SystemError::NoDevice(names.shown_as.into());
    let ours = &ours.ok_or_else(absent)?.uid;
    system.set_default_input(ours)?;
    let began = Instant::now();
    while system.default_input()?.as_ref() != Some(ours) {
        if began.elapsed() > PATIENCE {
            return Err(SystemError::NotDefault(
                names.shown_as,
                names.sound_settings,
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::{Mic, Simulated, VIRTUAL_MIC};

    #[test]
    fn it_is_the_default_afterwards_or_an_error() {
        let system = Simulated::new(vec![Mic::new("mic")]);
        assert_eq!(
            make_default(&system),
            Err(SystemError::NoDevice("the simulated virtual mic".into()))
        );
        system.plug(Mic::virtual_mic());
        assert_eq!(make_default(&system), Ok(()));
        assert_eq!(system.default_input(), Ok(Some(VIRTUAL_MIC.into())));
    }
}
