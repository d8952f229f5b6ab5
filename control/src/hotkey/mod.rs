//! The global hotkey on X11. It only sends commands; the daemon's actor decides.
