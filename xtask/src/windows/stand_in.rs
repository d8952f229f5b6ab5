//! What stands in for a WDK on Linux: mingw-w64's headers and import libraries of the kernel, laid out as a WDK's, and a wdk-build that
//! compiles here. Enough to compile and link what a WDK will be given, and to hold our layouts against headers that others wrote; no driver
//! for users comes of it. All of it is made when it is needed, below cargo's folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::build::{LIMIT, ended_well, folder, mingw};
use super::wdk::{self, Kit, copy_text};
use crate::step::Run;

/// The version of the WDK that is not there: wdk-build takes the highest number.
const VERSION: &str = "10.0.0.0";

/// mingw-w64's headers are for GCC. Without this one clang reads its own, with functions that collide with theirs.
const CLANG: &str = "--target=x86_64-w64-windows-gnu -fno-ms-compatibility -fgnuc-version=4.8.1 \
                     -D_WIN32_WINNT=0x0A00 -DNTDDI_VERSION=0x0A000000 -D__AMXINTRIN_H";

/// What wdk-sys takes from newer headers than mingw-w64's.
const NEWER: &str = "typedef unsigned long long POOL_FLAGS;\n";

/// What has to change in wdk-build 0.6.0, which refuses to be compiled for anything but Windows: the file, what stands there, how often,
/// and what comes in its place.
const CHANGES: &[(&str, &str, usize, &str)] = &[
    // What only Windows has is for Windows only.
    (
        "Cargo.toml",
        "[dependencies.windows]",
        1,
        "[target.'cfg(windows)'.dependencies.windows]",
    ),
    (
        "src/utils.rs",
        "use windows::{",
        1,
        "#[cfg(windows)]\nuse windows::{",
    ),
    (
        "src/utils.rs",
        "    if let Some(path) = read_registry_key_string_value(",
        2,
        "    #[cfg(windows)]\n    if let Some(path) = read_registry_key_string_value(",
    ),
    (
        "src/utils.rs",
        "\nfn read_registry_key_string_value(",
        1,
        "\n#[cfg(windows)]\nfn read_registry_key_string_value(",
    ),
    // Refused when it is called, not when it is compiled; and cargo-make, which is what calls it, is not wanted.
    ("src/utils.rs", "compile_error!(", 2, "panic!("),
    ("src/lib.rs", "pub mod cargo_make;", 1, ""),
];

/// What the manifest says of the changed one.
const PATCH: &str = "\n[patch.crates-io]\nwdk-build = { path = \"wdk-build\" }\n";

/// Lays the kit out: its folders of headers are empty, and mingw-w64's are said to the compiler.
pub(super) fn kit(run: &Run<'_>) -> Result<Kit> {
    let root = folder(run.workspace).join("stand-in-for-a-wdk");
    let (headers, libraries) = kernel_of_mingw()?;
    let include = root.join("Include").join(VERSION);
    fs::create_dir_all(include.join("km/crt"))?;
    fs::create_dir_all(include.join("shared"))?;
    let lib = root.join("Lib").join(VERSION).join("km/x64");
    fs::create_dir_all(&lib)?;
    for name in ["hal", "ntoskrnl"] {
        let library = libraries.join(format!("lib{name}.a"));
        fs::copy(&library, lib.join(format!("{name}.lib")))
            .with_context(|| format!("cannot copy {}", library.display()))?;
    }
    let newer = root.join("newer.h");
    fs::write(&newer, NEWER)?;
    let clang = format!(
        "{CLANG} -isystem{0}/ddk -isystem{0} -resource-dir={1} -include{2}",
        headers.display(),
        output(Command::new("clang").arg("-print-resource-dir"))?,
        newer.display()
    );
    Ok(Kit {
        root,
        clang: Some(clang),
    })
}

/// Copies the driver's workspace, with a changed wdk-build.
pub(super) fn copy(run: &mut Run<'_>) -> Result<()> {
    let copy = wdk::copy(run.workspace);
    let published = published(run)?;
    copy_text(&published, &copy.join("wdk-build"), &|name, mut text| {
        for (_, old, times, new) in CHANGES.iter().filter(|(file, ..)| *file == name) {
            let found = text.matches(old).count();
            ensure!(
                found == *times,
                "wdk-build's {name} has {old:?} {found} times, not {times}: it has changed, and so must xtask/src/windows/stand_in.rs"
            );
            text = text.replace(old, new);
        }
        Ok(text)
    })?;
    wdk::make_copy(run.workspace, PATCH)?;
    // The lock file has to say so as well; nothing else of it changes.
    let mut fetch = run.workspace.cargo("fetch --target x86_64-pc-windows-msvc");
    fetch.current_dir(copy);
    ended_well(run, fetch, "cargo fetch")
}

/// Where cargo keeps wdk-build as it was published.
fn published(run: &mut Run<'_>) -> Result<PathBuf> {
    let mut metadata = run.workspace.cargo("metadata --locked --format-version 1");
    metadata.current_dir(wdk::source(run.workspace));
    let mut answer = None;
    let ended = run.command(metadata, LIMIT, |line| {
        if line.starts_with('{') {
            answer = serde_json::from_str::<serde_json::Value>(line).ok();
        }
    })?;
    ensure!(ended.ok(), "cargo metadata failed ({ended})");
    let answer = answer.context("cargo metadata said nothing")?;
    let packages = answer["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == "wdk-build")
        .find_map(|package| package["manifest_path"].as_str());
    let manifest = Path::new(manifest.context("wdk-build is not among the dependencies")?);
    Ok(manifest
        .parent()
        .context("a manifest lies in a folder")?
        .to_owned())
}

/// mingw-w64's headers and libraries.
fn kernel_of_mingw() -> Result<(PathBuf, PathBuf)> {
    let compiler = mingw().map_err(anyhow::Error::msg)?;
    let library = output(Command::new(compiler).arg("-print-file-name=libntoskrnl.a"))?;
    let library = Path::new(&library)
        .canonicalize()
        .context("mingw-w64 has no libntoskrnl.a")?;
    let libraries = library.parent().context("a library lies in a folder")?;
    let headers = libraries.join("../include").canonicalize()?;
    if !headers.join("ddk/ntddk.h").exists() {
        bail!(
            "mingw-w64 has no headers of the kernel in {}",
            headers.display()
        );
    }
    Ok((headers, libraries.to_owned()))
}

/// What a program answers, in one line.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output();
    let output =
        output.with_context(|| format!("cannot start {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{} failed",
        command.get_program().display()
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
