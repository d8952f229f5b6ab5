//! The macOS plug-in, driven by a host in C that shares no declaration with it: the interface, the property table, clients,
//! sound through the bridge, and what it tells about itself. Runs on Linux, where the plug-in is a shared object like any other.

mod diagnosis;
mod interface;
mod layouts;
mod non_interference;
mod set;
mod sound;
