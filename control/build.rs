//! How the program is linked on Linux.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |key| env::var(key).unwrap_or_default();
    // Some 12,000 relocations in 3 KB instead of 300, all of which the start reads. glibc 2.36 and later apply them, and all
    // systems with a PipeWire that TrueMute runs on have that or a later one.
    if target("CARGO_CFG_TARGET_OS") == "linux" && target("CARGO_CFG_TARGET_ENV") == "gnu" {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
