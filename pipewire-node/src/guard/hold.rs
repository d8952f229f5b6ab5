//! Keeps the real mic's device busy while nobody is to have it: opened and never started, so that it captures nothing. A device
//! with one capture substream then refuses everybody else (EBUSY; snd_pcm_open, sound/core/pcm_native.c).

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// A capture device: number of its card, and its number on the card.
pub(crate) type Device = (u32, u32);

/// The device that is held, if one is.
#[derive(Debug)]
pub(crate) struct Hold {
    /// /dev/snd, but in tests.
    dev: PathBuf,
    held: Option<(Device, File)>,
    /// The device that could not be had, so that it is said once.
    refused: Option<Device>,
}

impl Hold {
    pub(crate) fn new(dev: PathBuf) -> Self {
        Self {
            dev,
            held: None,
            refused: None,
        }
    }

    /// Holds this device from now on, and no other. One that is busy is tried again at the next call.
    pub(crate) fn keep(&mut self, device: Option<Device>) {
        if self.held.as_ref().map(|(held, _)| *held) == device {
            return;
        }
        self.held = None;
        let Some(device) = device else { return };
        let path = self.dev.join(format!("pcmC{}D{}c", device.0, device.1));
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path);
        match opened {
            Ok(file) => {
                self.held = Some((device, file));
                self.refused = None;
            }
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {}
            Err(error) => {
                if self.refused.replace(device) != Some(device) {
                    tracing::warn!("{} cannot be held: {error}", path.display());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// Whether this process has the file open.
    fn is_open(path: &Path) -> bool {
        let descriptors = fs::read_dir("/proc/self/fd").expect("our own");
        descriptors
            .flatten()
            .any(|it| fs::read_link(it.path()).is_ok_and(|target| target == path))
    }

    #[test]
    fn one_device_is_held_and_let_go_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name| folder.path().join(name);
        let (first, second) = (path("pcmC0D0c"), path("pcmC1D2c"));
        File::create(&first).expect("a file");
        File::create(&second).expect("a file");
        let mut hold = Hold::new(folder.path().to_owned());
        hold.keep(Some((0, 0)));
        assert!(is_open(&first));
        hold.keep(Some((1, 2)));
        assert!(!is_open(&first) && is_open(&second));
        // One that is not there, and is there later.
        hold.keep(Some((7, 7)));
        assert!(!is_open(&second));
        File::create(path("pcmC7D7c")).expect("a file");
        hold.keep(Some((7, 7)));
        assert!(is_open(&path("pcmC7D7c")));
        hold.keep(None);
        assert!(!is_open(&path("pcmC7D7c")));
    }
}
