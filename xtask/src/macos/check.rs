//! Looks at the bundles as they would be shipped: what cannot be tried without a Mac can at least be read.

use std::fs;

use anyhow::{Context, Result, anyhow, bail, ensure};
use object::macho;

use super::build::OLDEST_SYSTEM;
use super::bundle::{Bundle, Bundles, files, text};
use super::mach_o::{Slice, slices};
use super::signature::{ADHOC, RUNTIME, Signature, Slot};
use crate::findings::{Finding, no_paths};
use crate::workspace::Workspace;

/// The type of an audio server plug-in (CoreAudio/AudioServerPlugIn.h, kAudioServerPlugInTypeUUID).
const PLUG_IN_TYPE: &str = "443ABAB8-E7B3-491A-B985-BEB9187030DB";
const SYSTEM: &str = "/usr/lib/libSystem.B.dylib";
const CORE_FOUNDATION: &str =
    "/System/Library/Frameworks/CoreFoundation.framework/Versions/A/CoreFoundation";

/// Both bundles, but for their signatures.
pub(super) fn all(bundles: &Bundles, workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = driver(&bundles.driver, workspace)?;
    findings.extend(application(&bundles.application, workspace)?);
    Ok(findings)
}

/// The driver.
pub(super) fn driver(driver: &Bundle, workspace: &Workspace) -> Result<Vec<Finding>> {
    let bytes = fs::read(driver.program()?)?;
    let plug_in = slices(&bytes)?;
    let factory = factory(&driver.plist()?);
    Ok(vec![
        ("the driver's processors", arches(&plug_in, driver)),
        ("the driver is a bundle", kind(&plug_in, macho::MH_BUNDLE)),
        (
            "the driver's factory, in its Info.plist and in its exports",
            factory.and_then(|factory| exports_only(&plug_in, &factory)),
        ),
        (
            "the driver imports from CoreFoundation and libSystem only",
            plug_in_imports(&plug_in),
        ),
        (
            "the oldest system of the driver",
            oldest_system(&plug_in, driver),
        ),
        ("the driver's version", version(driver)),
        (
            "no path of this machine in the driver",
            files(&driver.path).and_then(|files| no_paths(&files, workspace)),
        ),
    ])
}

/// The application.
fn application(application: &Bundle, workspace: &Workspace) -> Result<Vec<Finding>> {
    let bytes = fs::read(application.program()?)?;
    let program = slices(&bytes)?;
    Ok(vec![
        // So that the driver's check of the same name is known to refuse something real.
        (
            "the program, which calls Core Audio, would be refused as a driver",
            match plug_in_imports(&program) {
                Ok(()) => Err(anyhow!("it was not")),
                Err(_) => Ok(()),
            },
        ),
        ("the program's processors", arches(&program, application)),
        (
            "the program can be executed anywhere in memory",
            kind(&program, macho::MH_EXECUTE).and_then(|()| {
                ensure!(
                    program
                        .iter()
                        .all(|slice| slice.flags() & macho::MH_PIE != 0),
                    "it lacks MH_PIE"
                );
                Ok(())
            }),
        ),
        (
            "the program needs the system's libraries only",
            system_libraries(&program),
        ),
        (
            "the oldest system of the program",
            oldest_system(&program, application),
        ),
        ("the application's version", version(application)),
        (
            "the application's Info.plist, in its bundle and in its program",
            application_plist(application, &program),
        ),
        (
            "no path of this machine in the application",
            files(&application.path).and_then(|files| no_paths(&files, workspace)),
        ),
    ])
}

/// The signatures of both.
pub(super) fn signatures(bundles: &Bundles) -> Result<Vec<Finding>> {
    Ok(vec![
        ("the driver's signature", signature(&bundles.driver, false)),
        (
            "the application's signature",
            signature(&bundles.application, true),
        ),
    ])
}

fn arches(slices: &[Slice<'_>], bundle: &Bundle) -> Result<()> {
    ensure!(
        slices.len() == bundle.arches.len()
            && bundle
                .arches
                .iter()
                .all(|arch| slices.iter().any(|slice| slice.arch == *arch)),
        "{:?}, where {:?} are wanted",
        slices.iter().map(|slice| slice.arch).collect::<Vec<_>>(),
        bundle.arches
    );
    Ok(())
}

fn kind(slices: &[Slice<'_>], wanted: u32) -> Result<()> {
    for slice in slices {
        ensure!(
            slice.kind() == wanted,
            "{:?}: the file type is {}, not {wanted}",
            slice.arch,
            slice.kind()
        );
    }
    Ok(())
}

/// The function that makes audio server plug-ins, by what the property list says.
fn factory(plist: &plist::Dictionary) -> Result<String> {
    let dictionary = |key: &str| plist.get(key).and_then(|value| value.as_dictionary());
    let types = dictionary("CFPlugInTypes").context("it has no CFPlugInTypes")?;
    let ours = types.get(PLUG_IN_TYPE).and_then(|value| value.as_array());
    let [id] = &ours.context("it is no audio server plug-in")?[..] else {
        bail!("it does not have one factory");
    };
    let id = id.as_string().context("a factory's id is no text")?;
    let factories = dictionary("CFPlugInFactories").context("it has no CFPlugInFactories")?;
    Ok(text(factories, id)?.to_owned())
}

fn exports_only(slices: &[Slice<'_>], name: &str) -> Result<()> {
    for slice in slices {
        let exports = slice.exports()?;
        // C's names have an underscore before them in Mach-O.
        ensure!(
            exports == [format!("_{name}")],
            "{:?}: it exports {exports:?}, not {name} alone",
            slice.arch
        );
    }
    Ok(())
}

/// The header forbids a plug-in to call the audio system's own functions (AudioServerPlugIn.h), and every library more is one more
/// thing that the audio server's process loads.
fn plug_in_imports(slices: &[Slice<'_>]) -> Result<()> {
    for slice in slices {
        let (libraries, paths) = slice.libraries()?;
        ensure!(
            paths.is_empty(),
            "it has libraries searched for in {paths:?}"
        );
        for library in &libraries {
            ensure!(
                [SYSTEM, CORE_FOUNDATION].contains(&library.as_str()),
                "it loads {library}"
            );
        }
        for import in slice.imports()? {
            ensure!(
                !import.name.starts_with("_Audio"),
                "it calls {} of the audio system",
                import.name
            );
            ensure!(
                [SYSTEM, CORE_FOUNDATION].contains(&import.library.as_str()),
                "it has {} from {}",
                import.name,
                import.library
            );
        }
    }
    Ok(())
}

fn system_libraries(slices: &[Slice<'_>]) -> Result<()> {
    for slice in slices {
        let (libraries, paths) = slice.libraries()?;
        ensure!(
            paths.is_empty(),
            "it has libraries searched for in {paths:?}"
        );
        for library in &libraries {
            let of_system = ["/usr/lib/", "/System/Library/Frameworks/"];
            ensure!(
                of_system.iter().any(|place| library.starts_with(place)),
                "it loads {library}"
            );
        }
    }
    Ok(())
}

fn oldest_system(slices: &[Slice<'_>], bundle: &Bundle) -> Result<()> {
    let plist = bundle.plist()?;
    let promised = text(&plist, "LSMinimumSystemVersion")?;
    ensure!(promised == OLDEST_SYSTEM, "its Info.plist says {promised}");
    for slice in slices {
        let built = slice.oldest_system()?;
        ensure!(
            built == OLDEST_SYSTEM,
            "{:?}: it was built for {built}",
            slice.arch
        );
    }
    Ok(())
}

fn version(bundle: &Bundle) -> Result<()> {
    let plist = bundle.plist()?;
    for key in ["CFBundleShortVersionString", "CFBundleVersion"] {
        let found = text(&plist, key)?;
        ensure!(found == env!("CARGO_PKG_VERSION"), "{key} is {found}");
    }
    Ok(())
}

/// Without the purpose, a program that records is killed; without LSUIElement it has an icon in the Dock.
fn application_plist(bundle: &Bundle, slices: &[Slice<'_>]) -> Result<()> {
    let plist = bundle.plist()?;
    ensure!(
        !text(&plist, "NSMicrophoneUsageDescription")?.is_empty(),
        "it does not say what the microphone is for"
    );
    ensure!(
        plist.get("LSUIElement").and_then(|it| it.as_boolean()) == Some(true),
        "LSUIElement is not set"
    );
    let on_disk = fs::read(bundle.plist_path())?;
    for slice in slices {
        ensure!(
            slice.section("__info_plist") == Some(&on_disk),
            "{:?}: the program has another one than its bundle",
            slice.arch
        );
    }
    Ok(())
}

/// What kind of signature it is, and of what.
fn seal(signature: &Signature<'_>, bundle_identifier: &str) -> Result<()> {
    let flags = signature.flags()?;
    ensure!(
        flags & RUNTIME != 0,
        "it lacks the hardened runtime: {flags:#x}"
    );
    ensure!(flags & ADHOC != 0, "it is not marked as ad hoc: {flags:#x}");
    let identifier = signature.identifier()?;
    ensure!(
        identifier == bundle_identifier,
        "it is signed as {identifier}"
    );
    Ok(())
}

fn signature(bundle: &Bundle, entitled: bool) -> Result<()> {
    let bytes = fs::read(bundle.program()?)?;
    let plist = bundle.plist()?;
    for slice in slices(&bytes)? {
        let blob = slice.signature()?;
        let signature = Signature::parse(blob)?;
        seal(&signature, text(&plist, "CFBundleIdentifier")?)?;
        let at = blob.as_ptr().addr() - slice.bytes.as_ptr().addr();
        signature.covers(slice.bytes, at)?;
        // So that the check above is known to notice something.
        let mut changed = slice.bytes.to_vec();
        changed[at / 2] ^= 1;
        ensure!(
            signature.covers(&changed, at).is_err(),
            "a changed byte was not noticed"
        );
        ensure!(
            signature.vouches_for(Slot::InfoPlist, &fs::read(bundle.plist_path())?)?,
            "its Info.plist is not as signed"
        );
        let resources = bundle.path.join("Contents/_CodeSignature/CodeResources");
        ensure!(
            signature.vouches_for(Slot::Resources, &fs::read(&resources)?)?,
            "its CodeResources is not as signed"
        );
        let entitlements = signature.blob(Slot::Entitlements);
        ensure!(
            entitlements.is_some() == entitled,
            "its entitlements are not as wanted"
        );
        if let Some(entitlements) = entitlements {
            let asked: plist::Dictionary = plist::from_bytes(&entitlements[8..])?;
            let wanted = "com.apple.security.device.audio-input";
            ensure!(
                asked.len() == 1 && asked.get(wanted).and_then(|it| it.as_boolean()) == Some(true),
                "it asks for {asked:?}"
            );
            ensure!(
                signature.vouches_for(Slot::Entitlements, entitlements)?,
                "its entitlements are not as signed"
            );
            let der = signature.blob(Slot::EntitlementsDer);
            let der = der.context("its entitlements in DER are missing")?;
            ensure!(
                signature.vouches_for(Slot::EntitlementsDer, der)?,
                "its entitlements in DER are not as signed"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::macos::build::Arch;
    use crate::macos::mach_o::Made;
    use crate::macos::signature::made;

    const NAME: &str = "org.truemute.driver";

    fn refusal(flags: u32, identifier: &str) -> Option<String> {
        let bytes = made(&[7; 5000], flags, identifier, &[]);
        let verdict = seal(&Signature::parse(&bytes).unwrap(), NAME);
        verdict.err().map(|why| why.to_string())
    }

    #[test]
    fn a_seal_without_the_hardened_runtime_is_refused() {
        assert_eq!(refusal(ADHOC | RUNTIME, NAME), None);
        let refused = refusal(ADHOC, NAME).unwrap();
        assert!(refused.contains("hardened runtime"), "{refused}");
        let refused = refusal(RUNTIME, NAME).unwrap();
        assert!(refused.contains("ad hoc"), "{refused}");
        let refused = refusal(ADHOC | RUNTIME, "org.truemute.other").unwrap();
        assert!(refused.contains("signed as"), "{refused}");
    }

    #[test]
    fn a_property_list_without_its_factory_is_refused() {
        let ours = include_str!("../../../driver-macos/plugin/bundle/Info.plist");
        let read = |text: &str| factory(&plist::from_bytes(text.as_bytes()).unwrap());
        assert_eq!(read(ours).unwrap(), "TrueMute_Create");
        for missing in [PLUG_IN_TYPE, "CFPlugInTypes", "CFPlugInFactories"] {
            assert!(ours.contains(missing));
            assert!(read(&ours.replace(missing, "Other")).is_err(), "{missing}");
        }
    }

    /// A driver for Apple's processors with nothing wrong.
    fn good() -> Made<'static> {
        Made {
            processor: macho::CPU_TYPE_ARM64,
            kind: macho::MH_BUNDLE,
            flags: macho::MH_TWOLEVEL,
            oldest_system: 11 << 16,
            libraries: vec![SYSTEM, CORE_FOUNDATION],
            paths: vec![],
            imports: vec![("_memcpy", 1), ("_CFRelease", 2)],
            exports: vec!["_TrueMute_Create"],
        }
    }

    /// The checks of a driver that refuse a file.
    fn refused_by(made: &Made<'_>) -> Vec<&'static str> {
        let bytes = made.bytes();
        let slices = slices(&bytes).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let bundle = Bundle {
            path: folder.path().to_owned(),
            arches: vec![Arch::Arm64],
        };
        fs::create_dir(folder.path().join("Contents")).unwrap();
        let plist = include_str!("../../../driver-macos/plugin/bundle/Info.plist");
        fs::write(bundle.plist_path(), plist).unwrap();
        [
            ("arches", arches(&slices, &bundle)),
            ("kind", kind(&slices, macho::MH_BUNDLE)),
            ("exports", exports_only(&slices, "TrueMute_Create")),
            ("imports", plug_in_imports(&slices)),
            ("system", system_libraries(&slices)),
            ("oldest", oldest_system(&slices, &bundle)),
            ("version", version(&bundle)),
        ]
        .into_iter()
        .filter_map(|(name, verdict)| verdict.is_err().then_some(name))
        .collect()
    }

    #[test]
    fn each_fault_of_a_driver_is_seen_by_its_check() {
        type Break = fn(&mut Made<'static>);
        let faults: &[(&[&str], Break)] = &[
            (&[], |_| {}),
            (&["arches"], |it| it.processor = macho::CPU_TYPE_X86_64),
            (&["kind"], |it| it.kind = macho::MH_DYLIB),
            (&["exports"], |it| it.exports.push("_rust_eh_personality")),
            (&["exports"], |it| it.exports.clear()),
            (&["imports"], |it| {
                it.libraries.push("/usr/lib/libobjc.A.dylib");
            }),
            (&["imports"], |it| {
                it.imports.push(("_AudioObjectGetPropertyData", 2));
            }),
            (&["imports", "system"], |it| {
                it.libraries.push("/opt/homebrew/lib/libsqlite3.dylib");
            }),
            (&["imports", "system"], |it| it.paths.push("@loader_path")),
            (&["oldest"], |it| it.oldest_system = 14 << 16),
        ];
        for (index, (checks, fault)) in faults.iter().enumerate() {
            let mut made = good();
            fault(&mut made);
            assert_eq!(refused_by(&made), *checks, "fault {index}");
        }
    }
}
