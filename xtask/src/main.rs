//! `cargo xtask`: the tasks of whoever builds, tests or releases TrueMute.
fn main() {}
