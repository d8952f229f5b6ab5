//! Core needs neither std nor an allocator, and its optimised code has no way to panic (promise P6): a library with
//! all of it links although its panic handler cannot. Without Cargo, because core has no dependencies to begin with.
#![cfg(all(target_os = "linux", not(loom)))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Compiles core, then the library in `freestanding/`, in a directory of their own.
fn link(name: &str, flags: &[&str]) -> Output {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&target).expect("Cargo's directory for tests can be written");
    let core = rustc(&target)
        .args(["--crate-name", "truemute_core", "--crate-type", "rlib"])
        .arg(source.join("src/lib.rs"))
        .output()
        .expect("rustc runs");
    assert!(
        core.status.success(),
        "{}",
        String::from_utf8_lossy(&core.stderr)
    );
    rustc(&target)
        .args([
            "--crate-name",
            "freestanding",
            "--crate-type",
            "cdylib",
            "-Clto=fat",
        ])
        // Of the C library only memcpy and memset are wanted.
        .args(["-Clink-arg=-Wl,--no-undefined", "-Clink-arg=-lc"])
        .args(["--extern", "truemute_core", "-L"])
        .arg(&target)
        .args(flags)
        .arg(source.join("tests/freestanding/lib.rs"))
        .output()
        .expect("rustc runs")
}

fn rustc(target: &Path) -> Command {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc
        .args([
            "--edition",
            "2024",
            "-Copt-level=3",
            "-Cpanic=abort",
            "--out-dir",
        ])
        .arg(target);
    rustc
}

#[test]
fn core_links_without_std_and_without_a_way_to_panic() {
    let linked = link("without", &[]);
    assert!(
        linked.status.success(),
        "{}",
        String::from_utf8_lossy(&linked.stderr)
    );
}

#[test]
fn a_way_to_panic_would_be_found() {
    let linked = link("with", &["--cfg", "with_a_way_to_panic"]);
    let errors = String::from_utf8_lossy(&linked.stderr);
    assert!(
        !linked.status.success() && errors.contains("a_way_to_panic_remains"),
        "{errors}"
    );
}
