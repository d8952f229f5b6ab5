//! The Windows driver, unchanged, in a host in C that shares no declaration with it. Runs on Linux: the host maps the driver's file and
//! answers its imports.

mod faults;
mod layouts;
mod lifetime;
mod requests;
mod set;
mod sound;
