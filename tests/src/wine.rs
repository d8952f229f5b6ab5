//! Windows programs under Wine, in a Debian of its own (`cargo xtask test wine` makes it): a drive C of their own, and commands in
//! namespaces of their own, so that nothing of them stays behind. What they have to do is judged in tests/wine.rs.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The root of the Debian that has Wine.
pub const ROOT: &str = "TRUEMUTE_WINE_ROOT";
/// Where xtask left what was built for Windows: `truemute.sys`, `truemute.inf`, `truemute.exe`.
pub const BUILT: &str = "TRUEMUTE_WINDOWS_BUILT";

/// Making a drive C took 44 s on a machine with a load of 25.
const LIMIT: Duration = Duration::from_secs(240);

/// A drive C, with the files of [`BUILT`] and what is compiled from tests/wine in its folder `truemute`.
#[derive(Debug)]
pub struct Wine {
    root: PathBuf,
    /// What is `/mnt` to Wine: drive C is `/mnt/prefix/drive_c`.
    folder: tempfile::TempDir,
}

/// What a script printed, and whether it ended with 0.
#[derive(Debug)]
pub struct Said {
    /// All of it, errors too.
    pub text: String,
    /// Whether its last command, with `set -e` all of them, did what it should.
    pub ended_well: bool,
}

impl Wine {
    /// Makes the drive. Nothing, with the reason, where this machine has no Wine for tests.
    ///
    /// # Panics
    /// If it has one, and that does not work.
    pub fn new() -> Result<Self, String> {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let (Some(root), Some(built)) = (named(ROOT), named(BUILT)) else {
            return Err(format!(
                "{ROOT} and {BUILT} are not set; `cargo xtask test wine` sets them"
            ));
        };
        let folder = tempfile::tempdir().expect("a folder for drive C");
        let ours = folder.path().join("prefix/drive_c/truemute");
        std::fs::create_dir_all(&ours).expect("a folder on drive C");
        for file in ["truemute.sys", "truemute.exe"] {
            std::fs::copy(built.join(file), ours.join(file)).expect(file);
        }
        let inf = std::fs::read_to_string(built.join("truemute.inf")).expect("the INF");
        // Wine 10 knows processors in the names of an INF's sections, and not the builds of Windows that follow them.
        let inf = inf.replace(".10.0...19041", "");
        std::fs::write(ours.join("truemute.inf"), inf).expect("the INF");
        compile(
            &["client.c"],
            &["-lsetupapi", "-lnewdev"],
            &ours.join("client.exe"),
        );
        compile(
            &["portcls.c", "portcls.def"],
            &[
                "-shared",
                "-nostdlib",
                "-Wl,--subsystem,native",
                "-Wl,--entry,DriverEntry",
                "-lntoskrnl",
            ],
            &ours.join("portcls.sys"),
        );
        let wine = Self { root, folder };
        let said = wine.run(
            "wine wineboot --init && wineserver --wait && cp $C/truemute/portcls.sys $C/windows/system32/drivers/",
        );
        assert!(said.ended_well, "{}", said.text);
        Ok(wine)
    }

    /// Runs a shell script; `$C` is drive C. When it has ended, or after its time, all that it started is ended.
    ///
    /// # Panics
    /// If it takes too long, or cannot be started.
    pub fn run(&self, script: &str) -> Said {
        let enter = r#"
            root=$1 folder=$2 script=$3
            mount -t proc proc "$root/proc"
            mount -t tmpfs tmpfs "$root/tmp"
            mount --bind "$folder" "$root/mnt"
            exec chroot "$root" sh -ec "$script" 2>&1
        "#;
        let mut child = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "--pid",
                "--fork",
                "--kill-child",
                "--net",
                "--ipc",
            ])
            .args(["sh", "-ec", enter, "sh"])
            .arg(&self.root)
            .arg(self.folder.path())
            .arg(script)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/mnt")
            .env("WINEPREFIX", "/mnt/prefix")
            .env("C", "/mnt/prefix/drive_c")
            .env(
                "WINEDEBUG",
                std::env::var("WINEDEBUG").unwrap_or("-all".to_owned()),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut output = child.stdout.take().expect("a pipe");
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            // An error ends the output, as its end does.
            let _ = output.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                break Some(status);
            }
            if started.elapsed() > LIMIT {
                // With the first process of its namespace all others end.
                child.kill().expect("it is our child");
                child.wait().expect("it is our child");
                break None;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        };
        let text = reading.join().expect("the reader ends");
        assert!(
            status.is_some(),
            "it did not end in {LIMIT:?}: {script}\n{text}"
        );
        Said {
            text,
            ended_well: status.is_some_and(|status| status.success()),
        }
    }
}

/// Compiles C for Windows.
fn compile(sources: &[&str], flags: &[&str], to: &Path) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("wine");
    let output = Command::new("x86_64-w64-mingw32-gcc")
        .current_dir(folder)
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1"])
        .args(sources)
        .arg("-o")
        .arg(to)
        .args(flags)
        .output()
        .expect("the compiler for Windows starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
