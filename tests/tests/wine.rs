//! The real driver under Wine, which has a kernel's loader, an object manager and a plug and play manager, and nothing of sound: so
//! here is what a program sees of its coming, going and control device. What the driver does with sound is tested in tests/nt.

use truemute_tests::wine::Wine;

const INSTALL: &str =
    r"wine 'C:\truemute\client.exe' install 'C:\truemute\truemute.inf' 'ROOT\TrueMute'";
const REMOVE: &str = r"wine 'C:\truemute\client.exe' remove 'ROOT\TrueMute'";
const GONE: &str = r"wine 'C:\truemute\client.exe' gone";
const UNLOAD: &str = "wine sc stop TrueMute";
const TALK: &str = r"wine 'C:\truemute\client.exe' talk";

#[test]
fn the_driver_is_installed_speaks_goes_and_comes_again() {
    let wine = match Wine::new() {
        Ok(wine) => wine,
        Err(reason) => {
            println!("SKIPPED: {reason}");
            return;
        }
    };
    let said = wine.run(&format!(
        "{GONE}\n{INSTALL}\n{TALK}\n{REMOVE}\n{GONE}\n{INSTALL}\n{TALK}\n{REMOVE}\n{UNLOAD}\n{GONE}\n{INSTALL}\n{TALK}"
    ));
    assert!(said.ended_well, "{}", said.text);
    let instances: Vec<&str> = said
        .text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("instance "))
        .collect();
    let [first, second, third] = instances[..] else {
        panic!("it did not speak three times: {}", said.text);
    };
    // Wine keeps a driver whose device is gone, until it is told not to.
    assert_eq!(first, second, "counts go on while the driver is loaded");
    assert_ne!(second, third, "a driver that was loaded anew says so");
}
