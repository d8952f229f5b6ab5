//! The host's declarations beside mingw-w64's, which others wrote and which ship with compilers.

use std::fmt::Write as _;
use std::process::Command;

use truemute_tests::nt_host;

/// mingw-w64's headers lack these types, although its portcls.h names the first two. The host's are from the documentation.
const MISSING: &str = "typedef struct { ULONG FifoSize, ChipsetDelay, CodecDelay; } KSRTAUDIO_HWLATENCY;
typedef struct { PVOID Register; ULONG Width; ULONGLONG Numerator, Denominator; ULONG Accuracy; } KSRTAUDIO_HWREGISTER;
";

#[test]
fn are_those_of_mingw() {
    let output = Command::new(nt_host::host()).arg("layouts").output();
    let listed = String::from_utf8(output.expect("the host runs").stdout).expect("text");
    let mut source = String::from("#include <stddef.h>\n#define TCHAR WCHAR\n#include <ntddk.h>\n");
    source += MISSING;
    source += "#include <portcls.h>\n";
    let mut compared = 0;
    for line in listed.lines() {
        let (name, bytes) = line.split_once(' ').expect("a name and a number");
        if name.starts_with("KSRTAUDIO") {
            continue;
        }
        let expression = match name.split_once('.') {
            Some((structure, field)) => format!("offsetof({structure}, {field})"),
            None => format!("sizeof({name})"),
        };
        writeln!(
            source,
            "_Static_assert({expression} == {bytes}, \"{name}\");"
        )
        .expect("text");
        compared += 1;
    }
    assert!(compared > 100, "{listed}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("layouts.c");
    std::fs::write(&file, source).expect("a file");
    let mut command = nt_host::mingw();
    let output = command.args(["-w", "-fsyntax-only"]).arg(&file).output();
    let output = output.expect("MinGW's compiler starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
