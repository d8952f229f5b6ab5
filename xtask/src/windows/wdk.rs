//! The driver linked against a Windows Driver Kit (driver-windows/wdk). A WDK is on Windows only; elsewhere another set of headers and
//! libraries stands in for it ([`super::stand_in`]), so that the same build can be tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::build::{Arch, Driver, Package, Tools, folder, link_driver};
use crate::step::Run;
use crate::workspace::Workspace;

const PACKAGE: &str = "truemute-miniport-wdk";

/// The WDK's import libraries. They come after Rust's own functions that copy memory; and the one for what Hal.dll has, by the
/// documentation, before that of the kernel, which may have it too.
const LIBRARIES: [&str; 2] = ["hal.lib", "ntoskrnl.lib"];

/// wdk-sys defines these for other drivers' sake, and everything that it defines is exported.
const OF_WDK_SYS: &[&str] = &[
    "_fltused",
    "__CxxFrameHandler3",
    "__CxxFrameHandler4",
    "__GSHandlerCheck_EH4",
];

/// A WDK, or what stands in for it.
pub(super) struct Kit {
    /// `WDKContentRoot`: the folder with `Include` and `Lib`.
    pub(super) root: PathBuf,
    /// More arguments for the compiler that reads the headers.
    pub(super) clang: Option<String>,
}

impl Kit {
    /// The WDK of this Windows: the one whose prompt this runs in, or the one that was installed.
    pub(super) fn installed() -> Result<Self> {
        let root = std::env::var_os("WDKContentRoot").map(PathBuf::from);
        let root = root.or_else(|| VIEWS.into_iter().find_map(registered));
        let root = root.context(
            "there is no Windows kit on this machine. Install the Windows Driver Kit, or run this in the prompt of an Enterprise WDK",
        )?;
        has_kernel(&root)?;
        Ok(Self { root, clang: None })
    }
}

/// Where 32-bit installers leave their words, and where 64-bit ones do.
const VIEWS: [&str; 2] = ["/reg:32", "/reg:64"];

/// Where the registry says that kits are.
fn registered(view: &str) -> Option<PathBuf> {
    let key = r"HKLM\SOFTWARE\Microsoft\Windows Kits\Installed Roots";
    let output = Command::new("reg")
        .args(["query", key, "/v", VALUE, view])
        .output()
        .ok()?;
    said(&String::from_utf8_lossy(&output.stdout))
}

const VALUE: &str = "KitsRoot10";

/// Reads `    KitsRoot10    REG_SZ    C:\Program Files (x86)\Windows Kits\10\`.
fn said(answer: &str) -> Option<PathBuf> {
    let line = answer
        .lines()
        .find_map(|line| line.trim().strip_prefix(VALUE))?;
    let (_, path) = line.split_once("REG_SZ")?;
    Some(PathBuf::from(path.trim()))
}

/// wdk-build takes the newest kit of those that have libraries. A kit for programs only is there without a driver's headers.
fn has_kernel(root: &Path) -> Result<()> {
    let kits = fs::read_dir(root.join("Lib"));
    let kits = kits.with_context(|| format!("there is no Windows kit in {}", root.display()))?;
    let names = kits.flatten().map(|kit| kit.file_name());
    let newest = names
        .filter(|name| name.to_string_lossy().starts_with("10."))
        .max();
    let newest = newest.with_context(|| {
        format!(
            "there is no kit of Windows 10 or later in {}",
            root.display()
        )
    })?;
    let libraries = root.join("Lib").join(&newest).join("km");
    for needed in [
        root.join("Include").join(&newest).join("km/ntddk.h"),
        libraries.join("x64/ntoskrnl.lib"),
        libraries.join("arm64/ntoskrnl.lib"),
    ] {
        ensure!(
            needed.exists(),
            "the newest Windows kit, {}, has no {}: install the Windows Driver Kit of the same version",
            newest.display(),
            needed.display()
        );
    }
    Ok(())
}

/// The folder of the package, which is a workspace of its own.
pub(super) fn source(workspace: &Workspace) -> PathBuf {
    workspace.root.join("driver-windows/wdk")
}

/// The copy that is built: wdk-build looks for the lock file above the folder that it builds in, and that folder is here wherever
/// cargo's is.
pub(super) fn copy(workspace: &Workspace) -> PathBuf {
    folder(workspace).join("wdk")
}

/// Makes the copy, with more in its manifest.
pub(super) fn make_copy(workspace: &Workspace, more: &str) -> Result<()> {
    let source = source(workspace);
    copy_text(&source, &copy(workspace), &|name, text| {
        if name != "Cargo.toml" {
            return Ok(text);
        }
        // As a literal, for a path may have backslashes.
        let miniport = format!("'{}'", source.with_file_name("miniport").display());
        Ok(text.replace("\"../miniport\"", &miniport) + more)
    })
}

/// Builds the driver in the copy of its workspace.
pub(super) fn build(run: &mut Run<'_>, tools: &Tools, arch: Arch, kit: &Kit) -> Result<Driver> {
    let copy = copy(run.workspace);
    let root = kit
        .root
        .to_str()
        .context("the WDK's folder has a name that is no text")?;
    let mut environment = vec![("WDKContentRoot", root)];
    environment.extend(
        kit.clang
            .as_deref()
            .map(|more| ("BINDGEN_EXTRA_CLANG_ARGS", more)),
    );
    let package = Package {
        name: PACKAGE,
        elsewhere: Some((&copy, &copy.join("target"))),
        linked: &LIBRARIES,
        environment: &environment,
        exports: OF_WDK_SYS,
    };
    let made = folder(run.workspace)
        .join("linked-by-wdk")
        .join(arch.name());
    link_driver(run, tools, arch, &package, &made)
}

/// Copies a folder of text files, edited by `edit`, which gets each file's name below the folder. What is as it was is left alone:
/// nothing is built anew for it.
pub(super) fn copy_text(
    from: &Path,
    to: &Path,
    edit: &dyn Fn(&str, String) -> Result<String>,
) -> Result<()> {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(to.join(&folder))?;
        let entries = fs::read_dir(from.join(&folder));
        for entry in entries.with_context(|| format!("cannot read {}", from.display()))? {
            let entry = entry?;
            let name = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                // Made by who builds where the sources are.
                if name != Path::new("target") {
                    folders.push(name);
                }
                continue;
            }
            let text = fs::read_to_string(entry.path());
            let text = text.with_context(|| format!("cannot read {}", entry.path().display()))?;
            let text = edit(&name.to_string_lossy().replace('\\', "/"), text)?;
            let there = to.join(&name);
            if fs::read_to_string(&there).is_ok_and(|old| old == text) {
                continue;
            }
            fs::write(&there, text).with_context(|| format!("cannot write {}", there.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_answer_is_read() {
        let answer = "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\WOW6432Node\\Microsoft\\Windows Kits\\Installed Roots\r\n    \
                      KitsRoot10    REG_SZ    C:\\Program Files (x86)\\Windows Kits\\10\\\r\n\r\n";
        let root = said(answer).unwrap();
        assert_eq!(
            root.to_str(),
            Some(r"C:\Program Files (x86)\Windows Kits\10\")
        );
        assert!(
            said("ERROR: The system was unable to find the specified registry key or value.\r\n")
                .is_none()
        );
    }

    #[test]
    fn a_kit_without_the_kernel_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let make = |file: &str| {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        };
        let refusal = || has_kernel(root).unwrap_err().to_string();
        assert!(
            refusal().starts_with("there is no Windows kit in"),
            "{}",
            refusal()
        );
        make("Lib/10.0.22621.0/km/x64/ntoskrnl.lib");
        make("Lib/10.0.22621.0/km/arm64/ntoskrnl.lib");
        assert!(refusal().contains("ntddk.h"), "{}", refusal());
        make("Include/10.0.22621.0/km/ntddk.h");
        has_kernel(root).unwrap();
        // A newer kit, for programs only.
        make("Lib/10.0.26100.0/um/x64/kernel32.lib");
        assert!(refusal().contains("10.0.26100.0"), "{}", refusal());
    }

    #[test]
    fn only_what_changed_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("src")).unwrap();
        fs::create_dir_all(from.join("target")).unwrap();
        fs::write(from.join("src/lib.rs"), "old").unwrap();
        fs::write(from.join("target/made"), [0xff]).unwrap();
        let edit = |name: &str, text: String| Ok(format!("{name}: {text}"));
        copy_text(&from, &to, &edit).unwrap();
        let copy = to.join("src/lib.rs");
        assert_eq!(fs::read_to_string(&copy).unwrap(), "src/lib.rs: old");
        assert!(!to.join("target").exists());
        let written = || fs::metadata(&copy).unwrap().modified().unwrap();
        let before = written();
        copy_text(&from, &to, &edit).unwrap();
        assert_eq!(written(), before);
    }
}
