//! The program `truemute`.
fn main() {}
