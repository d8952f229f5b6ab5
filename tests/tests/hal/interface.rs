//! What needs nobody at the other end of the bridge: without an agent the plug-in is muted.

use std::path::Path;

use truemute_tests::hal_host;

/// Runs one of the host's checks, which prints what failed.
fn check(what: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = hal_host::command(folder.path(), what).output();
    let output = output.expect("the host runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}{errors}", output.status);
    println!("{said}");
}

#[test]
fn the_factory_makes_what_the_hal_asks_for_and_nothing_else() {
    check(&["interface"]);
}

#[test]
fn every_property_of_the_table_is_answered_and_no_other() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../driver-macos/plugin/properties.tsv");
    check(&["properties", table.to_str().expect("a path in UTF-8")]);
}

#[test]
fn clients_come_and_go_in_any_order_and_the_clock_goes_on() {
    check(&["clients"]);
}
