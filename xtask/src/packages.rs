//! The Debian packages that building, running and testing need, each with its reason.
//! The names are the same on Debian 12 and 13; on other systems what each gives is looked for instead.

use clap::ValueEnum;

/// What a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Compile everything.
    Build,
    /// Run a private audio server and the demo.
    Run,
    /// Run every test.
    Test,
    /// Build for other systems at all.
    Cross,
    /// Build for macOS, and look at what came out.
    Macos,
    /// Build for Windows, sign and pack.
    Windows,
    /// Run a whole Debian 13 in a virtual machine.
    Vm,
}

impl Part {
    /// Whether something goes on without it: what needs it says so itself, and is skipped.
    pub(crate) fn is_extra(self) -> bool {
        matches!(self, Self::Test | Self::Cross | Self::Macos | Self::Windows)
    }
}

/// How another system than Debian shows that it has what the package gives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Probe {
    /// A program on the PATH.
    Program(&'static str),
    /// A module that pkg-config knows.
    PkgConfig(&'static str),
    /// A file whose name starts like this, in one of the system's library folders.
    Library(&'static str),
}

/// One package.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    pub(crate) why: &'static str,
    pub(crate) probe: Probe,
    /// The only Debian that has it, if not all do.
    pub(crate) only_in: Option<&'static str>,
}

const fn package(part: Part, name: &'static str, why: &'static str, probe: Probe) -> Package {
    Package {
        name,
        part,
        why,
        probe,
        only_in: None,
    }
}

use Part::{Build, Cross, Macos, Run, Test, Vm, Windows};
use Probe::{Library, PkgConfig, Program};

/// All of them, in the order in which they are shown.
pub(crate) const PACKAGES: &[Package] = &[
    package(
        Build,
        "gcc",
        "links Rust programs, compiles the bundled SQLite",
        Program("cc"),
    ),
    package(
        Build,
        "libc6-dev",
        "headers of the C library",
        Library("crt1.o"),
    ),
    package(
        Build,
        "pkg-config",
        "finds libpipewire",
        Program("pkg-config"),
    ),
    package(
        Build,
        "libpipewire-0.3-dev",
        "the library the Linux backend is built on",
        PkgConfig("libpipewire-0.3"),
    ),
    package(
        Build,
        "libspa-0.2-dev",
        "PipeWire's formats and control messages",
        PkgConfig("libspa-0.2"),
    ),
    package(
        Build,
        "clang",
        "reads PipeWire's headers for the Rust bindings",
        Program("clang"),
    ),
    package(
        Build,
        "libclang-dev",
        "the same, as a library for bindgen",
        Library("libclang.so"),
    ),
    package(Run, "pipewire", "the audio server", Program("pipewire")),
    package(
        Run,
        "pipewire-bin",
        "pw-record, pw-link and pw-cli",
        Program("pw-record"),
    ),
    package(
        Run,
        "wireplumber",
        "links apps to devices",
        Program("wireplumber"),
    ),
    package(
        Run,
        "pipewire-pulse",
        "serves apps that speak PulseAudio",
        Program("pipewire-pulse"),
    ),
    package(
        Run,
        "pipewire-alsa",
        "serves apps that speak ALSA",
        Library("alsa-lib/libasound_module_pcm_pipewire.so"),
    ),
    package(
        Run,
        "libpipewire-0.3-modules",
        "the server's modules",
        Library("pipewire-0.3/libpipewire-module-adapter.so"),
    ),
    package(
        Run,
        "libspa-0.2-modules",
        "the server's converters and drivers",
        Library("spa-0.2/support/libspa-support.so"),
    ),
    package(
        Run,
        "dbus-daemon",
        "a private session bus",
        Program("dbus-daemon"),
    ),
    package(
        Test,
        "polkitd",
        "the authority that the lock asks",
        Program("pkcheck"),
    ),
    package(
        Run,
        "pulseaudio-utils",
        "pactl and parecord, a PulseAudio client",
        Program("parecord"),
    ),
    package(
        Run,
        "alsa-utils",
        "arecord, an ALSA client",
        Program("arecord"),
    ),
    package(
        Run,
        "espeak-ng",
        "speech for the demo's microphone",
        Program("espeak-ng"),
    ),
    package(Test, "g++", "compiles libFuzzer", Program("c++")),
    package(
        Test,
        "ffmpeg",
        "a client of its own kind",
        Program("ffmpeg"),
    ),
    package(
        Test,
        "gstreamer1.0-tools",
        "gst-launch-1.0",
        Program("gst-launch-1.0"),
    ),
    package(
        Test,
        "gstreamer1.0-pipewire",
        "a native client in GStreamer",
        Library("gstreamer-1.0/libgstpipewire.so"),
    ),
    package(
        Test,
        "gstreamer1.0-plugins-good",
        "a PulseAudio client in GStreamer",
        Library("gstreamer-1.0/libgstpulseaudio.so"),
    ),
    package(Test, "chromium", "a real browser", Program("chromium")),
    package(
        Test,
        "firefox-esr",
        "another real browser",
        Program("firefox-esr"),
    ),
    package(
        Test,
        "pipewire-jack",
        "lets JACK clients in",
        Program("pw-jack"),
    ),
    Package {
        only_in: Some("12"),
        ..package(
            Test,
            "jack-capture",
            "a JACK client",
            Program("jack_capture"),
        )
    },
    package(
        Test,
        "pavucontrol",
        "a volume control, whose meters are not recordings",
        Program("pavucontrol"),
    ),
    package(
        Test,
        "xauth",
        "lets programs into that display",
        Program("xauth"),
    ),
    package(
        Test,
        "xvfb",
        "an X11 display for the hotkey's test",
        Program("Xvfb"),
    ),
    package(Test, "xdotool", "presses that hotkey", Program("xdotool")),
    package(
        Test,
        "tmux",
        "a terminal for the test of `truemute top`",
        Program("tmux"),
    ),
    package(
        Test,
        "debootstrap",
        "makes another Debian to run its PipeWire",
        Program("debootstrap"),
    ),
    Package {
        only_in: Some("12"),
        ..package(
            Cross,
            "rustc-web",
            "a Rust that can be given the sources of its library",
            Program("rustc"),
        )
    },
    Package {
        only_in: Some("12"),
        ..package(
            Cross,
            "rust-web-src",
            "those sources, to build them for other systems",
            Library("rustlib/src/rust/library"),
        )
    },
    Package {
        only_in: Some("12"),
        ..package(Cross, "cargo-web", "its cargo", Program("cargo"))
    },
    Package {
        only_in: Some("12"),
        ..package(
            Cross,
            "lld-22",
            "links programs for macOS and drivers for Windows",
            Program("ld64.lld-22"),
        )
    },
    Package {
        only_in: Some("12"),
        ..package(
            Cross,
            "llvm-22",
            "joins programs for two processors into one, lists their instructions",
            Program("llvm-lipo-22"),
        )
    },
    package(
        Macos,
        "shellcheck",
        "reads the scripts that install on macOS",
        Program("shellcheck"),
    ),
    package(
        Windows,
        "gcc-mingw-w64-x86-64-win32",
        "links programs for Windows, compiles the bundled SQLite for it",
        Program("x86_64-w64-mingw32-gcc"),
    ),
    package(
        Windows,
        "osslsigncode",
        "signs the driver for a test",
        Program("osslsigncode"),
    ),
    package(
        Windows,
        "openssl",
        "makes the certificate for that",
        Program("openssl"),
    ),
    package(
        Windows,
        "zip",
        "packs what Windows unpacks by itself",
        Program("zip"),
    ),
    package(
        Vm,
        "qemu-system-x86",
        "emulates a machine with a sound card",
        Program("qemu-system-x86_64"),
    ),
    package(
        Vm,
        "debootstrap",
        "makes the Debian 13 that runs in it",
        Program("debootstrap"),
    ),
    package(Vm, "e2fsprogs", "makes its disks", Program("mkfs.ext4")),
];

/// What goes into the root of another Debian: its audio server, what that needs to come up, and what goes round it.
pub(crate) const OTHER_DEBIAN_PACKAGES: &[&str] = &[
    "pipewire",
    "pipewire-bin",
    "pipewire-pulse",
    "wireplumber",
    "libpipewire-0.3-modules",
    "libspa-0.2-modules",
    "dbus-daemon",
    "pulseaudio-utils",
];

/// What goes into the root for Windows programs: Wine for 64-bit ones, and a display with somebody who presses keys.
pub(crate) const WINE_PACKAGES: &[&str] = &["wine64", "wine", "xvfb", "xauth", "xdotool"];

/// What goes into the virtual machine: a kernel with sound (the cloud kernel has none), a session with a screen, the audio
/// server as a desktop has it, clients, and what makes a keyboard.
#[cfg(unix)]
pub(crate) const VM_PACKAGES: &[&str] = &[
    "linux-image-amd64",
    "initramfs-tools",
    "systemd-sysv",
    "libpam-systemd",
    "dbus-user-session",
    "dbus-x11",
    "polkitd",
    "rtkit",
    "udev",
    "kmod",
    "login",
    "procps",
    "xserver-xorg-core",
    "xserver-xorg-input-libinput",
    "xinit",
    "pipewire",
    "pipewire-bin",
    "pipewire-pulse",
    "pipewire-alsa",
    "wireplumber",
    "pulseaudio-utils",
    "alsa-utils",
    "evemu-tools",
];
