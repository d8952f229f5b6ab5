//! A keyboard made with uinput: the X server sees it as one that somebody plugged in.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::report::Trouble;

/// Name, bus, and which events it can give: all keys from 1 to 255. The format is evemu's (`man evemu-device`).
const DESCRIPTION: &str = "N: TrueMute test keyboard
I: 0003 1d6b 0001 0001
P: 00 00 00 00 00 00 00 00
B: 00 03 00 00 00 00 00 00 00
B: 01 fe ff ff ff ff ff ff ff
B: 01 ff ff ff ff ff ff ff ff
B: 01 ff ff ff ff ff ff ff ff
B: 01 ff ff ff ff ff ff ff ff
";

/// Plugged in as long as it lives.
pub(crate) struct Keyboard {
    device: Child,
    node: String,
}

impl Keyboard {
    /// Plugs it in.
    pub(crate) fn plug_in() -> Result<Self, Trouble> {
        let loaded = Command::new("modprobe").arg("uinput").status()?;
        if !loaded.success() {
            return Err(Trouble::Impossible("the kernel has no uinput".to_owned()));
        }
        let file = "/run/truemute-keyboard";
        fs::write(file, DESCRIPTION)?;
        let mut device = Command::new("evemu-device")
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = device.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        // "TrueMute test keyboard: /dev/input/event7"
        let node = line
            .trim()
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .to_owned();
        if !node.starts_with("/dev/input/") {
            return Err(Trouble::Failed(format!(
                "evemu-device made no keyboard: {line}"
            )));
        }
        Ok(Self { device, node })
    }

    /// Presses these keys one after another, and lets go of them.
    pub(crate) fn press(&self, keys: &[&str]) -> Result<(), Trouble> {
        for (value, keys) in [
            ("1", keys.to_vec()),
            ("0", keys.iter().rev().copied().collect()),
        ] {
            for key in keys {
                let status = Command::new("evemu-event")
                    .args([&self.node, "--sync", "--type", "EV_KEY"])
                    .args(["--code", key, "--value", value])
                    .status()?;
                if !status.success() {
                    return Err(Trouble::Failed(format!("cannot press {key}: {status}")));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _ = self.device.kill();
        let _ = self.device.wait();
    }
}
