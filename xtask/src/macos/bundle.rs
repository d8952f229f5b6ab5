//! The two bundles: TrueMute.driver, which Core Audio loads, and TrueMute.app, which has the program. Apple's "Bundle Programming
//! Guide" says how they are laid out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::build::{Arch, Build};
use crate::step::Run;
use crate::workspace::Workspace;

/// One bundle on the disk.
pub(super) struct Bundle {
    /// Its folder.
    pub(super) path: PathBuf,
    /// For which processors its program was built.
    pub(super) arches: Vec<Arch>,
}

impl Bundle {
    pub(super) fn plist_path(&self) -> PathBuf {
        self.path.join("Contents/Info.plist")
    }

    pub(super) fn plist(&self) -> Result<plist::Dictionary> {
        let path = self.plist_path();
        plist::from_file(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// What `CFBundleExecutable` names.
    pub(super) fn program(&self) -> Result<PathBuf> {
        Ok(self
            .path
            .join("Contents/MacOS")
            .join(text(&self.plist()?, "CFBundleExecutable")?))
    }
}

/// Both.
pub(super) struct Bundles {
    pub(super) driver: Bundle,
    pub(super) application: Bundle,
}

impl Bundles {
    /// Builds plug-in and program for `arches`, and puts the bundles together, unsigned.
    pub(super) fn assemble(run: &mut Run<'_>, build: &Build<'_>, arches: &[Arch]) -> Result<Self> {
        Ok(Self {
            driver: driver(run, build, arches)?,
            application: application(run, build, arches)?,
        })
    }
}

/// Builds the plug-in for `arches`, and puts its bundle together, unsigned.
pub(super) fn driver(run: &mut Run<'_>, build: &Build<'_>, arches: &[Arch]) -> Result<Bundle> {
    let plist = run
        .workspace
        .root
        .join("driver-macos/plugin/bundle/Info.plist");
    let bundle = empty(build, "TrueMute.driver", &plist, arches)?;
    let plug_ins = arches.iter().map(|arch| build.plug_in(run, *arch));
    let plug_ins: Vec<PathBuf> = plug_ins.collect::<Result<_>>()?;
    build.universal(&plug_ins, &bundle.program()?)?;
    Ok(bundle)
}

/// The same of the program.
fn application(run: &mut Run<'_>, build: &Build<'_>, arches: &[Arch]) -> Result<Bundle> {
    let plist = run.workspace.root.join("driver-macos/packaging/Info.plist");
    let bundle = empty(build, "TrueMute.app", &plist, arches)?;
    let programs = arches.iter().map(|arch| build.program(run, *arch, &plist));
    let programs: Vec<PathBuf> = programs.collect::<Result<_>>()?;
    build.universal(&programs, &bundle.program()?)?;
    Ok(bundle)
}

/// A bundle that has its property list only.
fn empty(build: &Build<'_>, name: &str, plist: &Path, arches: &[Arch]) -> Result<Bundle> {
    let bundle = Bundle {
        path: build.folder().join("bundles").join(name),
        arches: arches.to_vec(),
    };
    if bundle.path.exists() {
        fs::remove_dir_all(&bundle.path)?;
    }
    fs::create_dir_all(bundle.path.join("Contents/MacOS"))?;
    fs::copy(plist, bundle.plist_path())?;
    Ok(bundle)
}

/// What the application asks the system for.
pub(super) fn entitlements(workspace: &Workspace) -> PathBuf {
    workspace
        .root
        .join("driver-macos/packaging/entitlements.plist")
}

/// A text in a property list.
pub(super) fn text<'a>(plist: &'a plist::Dictionary, key: &str) -> Result<&'a str> {
    plist
        .get(key)
        .and_then(|value| value.as_string())
        .with_context(|| format!("a property list has no text {key}"))
}

/// Its files, for what is true of each.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}
