//! The configuration files of a private server: drop-ins beside the distribution's own files, so that what is tried is
//! what users run, less everything that touches hardware, portals or the user's session. For WirePlumber 0.4 and 0.5.

use super::server::{Clock, ServerOptions};

/// One file below the private configuration directory.
pub(super) struct Dropin {
    /// Path relative to XDG_CONFIG_HOME.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
}

/// A bus of its own that starts no services: an activated portal or settings daemon would reach the user's session.
pub(super) fn bus(socket: &str) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"#
    )
}

/// Everything to write, the caller's own drop-ins last.
pub(super) fn dropins(options: &ServerOptions) -> Vec<Dropin> {
    let file = |path: &str, text: String| Dropin {
        path: path.to_owned(),
        text,
    };
    let mut files = vec![
        file(
            "wireplumber/main.lua.d/51-rehearsal.lua",
            WIREPLUMBER_04.to_owned(),
        ),
        file(
            "wireplumber/bluetooth.lua.d/51-rehearsal.lua",
            "bluez_monitor.enabled = false\n".to_owned(),
        ),
        file(
            "wireplumber/wireplumber.conf.d/51-rehearsal.conf",
            WIREPLUMBER_05.to_owned(),
        ),
    ];
    if let Some(clock) = options.clock {
        files.push(file(
            "pipewire/pipewire.conf.d/51-rehearsal.conf",
            clock_settings(clock),
        ));
    }
    files.extend(
        options
            .dropins
            .iter()
            .map(|(path, text)| file(path, text.clone())),
    );
    files
}

/// The distribution's files raise the smallest quantum to 1024 in virtual machines (0.3: `vm.overrides`, 1.x: a rule),
/// after drop-ins have spoken: hence the same value again in both places.
fn clock_settings(clock: Clock) -> String {
    let Clock {
        rate,
        quantum,
        min_quantum,
        max_quantum,
    } = clock;
    format!(
        "context.properties = {{
    default.clock.rate = {rate}
    default.clock.allowed-rates = [ {rate} ]
    default.clock.quantum = {quantum}
    default.clock.min-quantum = {min_quantum}
    default.clock.max-quantum = {max_quantum}
    vm.overrides = {{ default.clock.min-quantum = {min_quantum} }}
}}
context.properties.rules = [
    {{ matches = [ {{ cpu.vm.name = !null }} ]
      actions = {{ update-props = {{ default.clock.min-quantum = {min_quantum} }} }} }}
]
"
    )
}

const WIREPLUMBER_04: &str = "alsa_monitor.enabled = false
v4l2_monitor.enabled = false
libcamera_monitor.enabled = false
default_access.properties[\"enable-flatpak-portal\"] = false
";

const WIREPLUMBER_05: &str = "wireplumber.profiles = {
  main = {
    hardware.audio = disabled
    hardware.bluetooth = disabled
    hardware.video-capture = disabled
    support.reserve-device = disabled
    support.portal-permissionstore = disabled
    script.client.access-portal = disabled
    support.logind = disabled
  }
}
";
