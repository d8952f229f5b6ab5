//! The macOS plug-in, driven by a host in C that shares no declaration with it: the interface, the property table, clients,
//! and sound through the bridge. Runs on Linux, where the plug-in is a shared object like any other.

mod interface;
mod layouts;
mod sound;
