//! Looks at the driver and the program as they would be shipped: what cannot be tried without Windows can at least be read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use object::pe;

use super::allowed::{Allowed, OLDEST_SYSTEM};
use super::build::{Arch, Driver};
use super::code;
use super::map::Map;
use super::pe::Image;
use crate::findings::{Finding, no_paths};
use crate::workspace::Workspace;

/// What every driver is entered by.
const ENTRY: &str = "DriverEntry";

/// All about the driver of one architecture but its signature. `objdump` is LLVM's.
pub(super) fn driver(
    driver: &Driver,
    arch: Arch,
    objdump: &Path,
    workspace: &Workspace,
) -> Result<Vec<Finding>> {
    let image = Image::parse(&fs::read(&driver.file)?)?;
    let map = Map::parse(&fs::read_to_string(&driver.map)?)?;
    let allowed = Allowed::read(workspace)?;
    let listing = code::listing(objdump, &driver.file)?;
    Ok(vec![
        ("the driver's processor", processor(&image, arch)),
        ("the driver is one of the kernel's", native(&image)),
        ("the driver's entry", entry(&image, &map, driver.exports)),
        (
            "the driver imports what its table allows, and all of that",
            allowed.check_imports(&image),
        ),
        (
            "the driver asks for what its table allows by name, and all of that",
            allowed.check_names(&image),
        ),
        (
            "what the driver may write it may not execute",
            sections(&image),
        ),
        ("nothing of the driver can be paged out", resident(&image)),
        ("the driver's data cannot be executed", no_execute(&image)),
        (
            "the driver can be loaded anywhere in memory",
            relocatable(&image),
        ),
        (
            "the driver uses no registers that the kernel does not save, and no floating point",
            code::check(&listing, arch),
        ),
        ("the driver has no way to panic", map.no_panic()),
        (
            "no path of this machine in the driver",
            no_paths(std::slice::from_ref(&driver.file), workspace),
        ),
    ])
}

/// All about the program.
pub(super) fn program(file: &PathBuf, workspace: &Workspace) -> Result<Vec<Finding>> {
    let image = Image::parse(&fs::read(file)?)?;
    Ok(vec![
        ("the program's processor", processor(&image, Arch::X64)),
        ("the program runs in a terminal", console(&image)),
        ("the program imports from the system only", system(&image)),
        (
            "what the program may write it may not execute",
            sections(&image),
        ),
        ("the program's data cannot be executed", no_execute(&image)),
        (
            "the program can be loaded anywhere in memory",
            relocatable(&image),
        ),
        // So that the check of drivers is known to refuse something real.
        (
            "the program would be refused as a driver",
            match native(&image) {
                Ok(()) => Err(anyhow::anyhow!("it was not")),
                Err(_) => Ok(()),
            },
        ),
        (
            "no path of this machine in the program",
            no_paths(std::slice::from_ref(file), workspace),
        ),
    ])
}

fn processor(image: &Image, arch: Arch) -> Result<()> {
    let wanted = match arch {
        Arch::X64 => pe::IMAGE_FILE_MACHINE_AMD64,
        Arch::Arm64 => pe::IMAGE_FILE_MACHINE_ARM64,
    };
    ensure!(
        image.machine == wanted,
        "it is for {:#x}, not for {wanted:#x}",
        image.machine
    );
    Ok(())
}

fn native(image: &Image) -> Result<()> {
    ensure!(
        image.subsystem == pe::IMAGE_SUBSYSTEM_NATIVE,
        "its subsystem is {}",
        image.subsystem
    );
    ensure!(
        image.subsystem_version == OLDEST_SYSTEM,
        "it wants the system {:?}",
        image.subsystem_version
    );
    ensure!(
        image.dll_characteristics & pe::IMAGE_DLLCHARACTERISTICS_WDM_DRIVER != 0,
        "it is not marked as a WDM driver"
    );
    ensure!(
        image.characteristics & pe::IMAGE_FILE_EXECUTABLE_IMAGE != 0,
        "it is marked as not linked to its end"
    );
    ensure!(
        image.foreign_tables.is_empty(),
        "it has {:?}, which no driver can have",
        image.foreign_tables
    );
    Ok(())
}

fn entry(image: &Image, map: &Map, also_exported: &[&str]) -> Result<()> {
    let wanted = map.address(ENTRY)?;
    ensure!(
        image.entry == wanted,
        "it is entered at {:#x}, where {ENTRY} is at {wanted:#x}",
        image.entry
    );
    let known = |name: &str| name == ENTRY || also_exported.contains(&name);
    let others: Vec<&String> = image.exports.iter().filter(|name| !known(name)).collect();
    ensure!(others.is_empty(), "it exports {others:?}");
    Ok(())
}

fn sections(image: &Image) -> Result<()> {
    ensure!(!image.sections.is_empty(), "it has no sections");
    for section in &image.sections {
        let has = |flag: u32| section.flags & flag != 0;
        ensure!(
            !(has(pe::IMAGE_SCN_MEM_WRITE) && has(pe::IMAGE_SCN_MEM_EXECUTE)),
            "{} may be written and executed",
            section.name
        );
        ensure!(
            !has(pe::IMAGE_SCN_MEM_SHARED),
            "{} is shared between processes",
            section.name
        );
    }
    Ok(())
}

/// The memory manager pages out the sections of a driver whose names begin with PAGE, and drops those that say so once the driver
/// has started. Of the latter a driver has none but what the loader alone reads.
fn resident(image: &Image) -> Result<()> {
    for section in &image.sections {
        ensure!(
            !section.name.starts_with("PAGE"),
            "{} can be paged out",
            section.name
        );
        ensure!(
            section.flags & pe::IMAGE_SCN_MEM_DISCARDABLE == 0 || section.name == ".reloc",
            "{} is dropped after the start",
            section.name
        );
    }
    Ok(())
}

fn no_execute(image: &Image) -> Result<()> {
    ensure!(
        image.dll_characteristics & pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT != 0,
        "it is not marked as fit for that"
    );
    // Pages are what protection is given to: where two sections share one, it has the rights of both. Memory integrity refuses such.
    ensure!(
        image.section_alignment >= 4096,
        "its sections lie {} bytes apart",
        image.section_alignment
    );
    Ok(())
}

fn relocatable(image: &Image) -> Result<()> {
    ensure!(
        image.dll_characteristics & pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE != 0,
        "it is not marked as fit for that"
    );
    ensure!(
        image.characteristics & pe::IMAGE_FILE_RELOCS_STRIPPED == 0,
        "what has to be changed for that was taken out"
    );
    Ok(())
}

fn console(image: &Image) -> Result<()> {
    ensure!(
        image.subsystem == pe::IMAGE_SUBSYSTEM_WINDOWS_CUI,
        "its subsystem is {}",
        image.subsystem
    );
    Ok(())
}

/// Modules that Windows 10 has in System32, and what our program imports from. mingw-w64's own libraries are no part of it.
const SYSTEM_MODULES: &[&str] = &[
    "advapi32.dll",
    "avrt.dll",
    "bcryptprimitives.dll",
    "cfgmgr32.dll",
    "combase.dll",
    "kernel32.dll",
    "msvcrt.dll",
    "newdev.dll",
    "ntdll.dll",
    "ole32.dll",
    "oleaut32.dll",
    "propsys.dll",
    "rpcrt4.dll",
    "setupapi.dll",
    "shell32.dll",
    "user32.dll",
    "userenv.dll",
    "ws2_32.dll",
];

fn system(image: &Image) -> Result<()> {
    ensure!(!image.imports.is_empty(), "it imports nothing");
    for import in &image.imports {
        let module = import.module.as_str();
        // Api sets are names that Windows itself leads to the module that has the function.
        let is_set = module.starts_with("api-ms-win-") || module.starts_with("ext-ms-win-");
        ensure!(
            is_set || SYSTEM_MODULES.contains(&module),
            "it has {} from {module}",
            import.name
        );
    }
    Ok(())
}

/// A driver with nothing wrong, for tests.
#[cfg(test)]
pub(super) use tests::good;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::windows::pe::{Import, Section};

    fn section(name: &str, flags: u32) -> Section {
        Section {
            name: name.to_owned(),
            flags,
        }
    }

    pub(in crate::windows) fn good() -> Image {
        let read = pe::IMAGE_SCN_MEM_READ;
        Image {
            machine: pe::IMAGE_FILE_MACHINE_AMD64,
            characteristics: pe::IMAGE_FILE_EXECUTABLE_IMAGE,
            subsystem: pe::IMAGE_SUBSYSTEM_NATIVE,
            subsystem_version: (10, 0),
            dll_characteristics: pe::IMAGE_DLLCHARACTERISTICS_WDM_DRIVER
                | pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT
                | pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE,
            section_alignment: 4096,
            entry: 0x1_8000_1120,
            checksum: 0,
            sections: vec![
                section(".text", read | pe::IMAGE_SCN_MEM_EXECUTE),
                section(".data", read | pe::IMAGE_SCN_MEM_WRITE),
                section(".reloc", read | pe::IMAGE_SCN_MEM_DISCARDABLE),
            ],
            imports: vec![Import {
                module: "ntoskrnl.exe".to_owned(),
                name: "IoCreateDevice".to_owned(),
            }],
            texts: BTreeSet::new(),
            exports: vec!["DriverEntry".to_owned()],
            foreign_tables: vec![],
        }
    }

    fn map() -> Map {
        Map::parse(" 0001:00000120       DriverEntry  0000000180001120     truemute.o\n").unwrap()
    }

    /// All checks of a driver's headers. Each name is of the check that refused it.
    fn refused_by(image: &Image) -> Vec<&'static str> {
        [
            ("processor", processor(image, Arch::X64)),
            ("native", native(image)),
            ("entry", entry(image, &map(), &[])),
            ("sections", sections(image)),
            ("resident", resident(image)),
            ("no_execute", no_execute(image)),
            ("relocatable", relocatable(image)),
        ]
        .into_iter()
        .filter_map(|(name, verdict)| verdict.is_err().then_some(name))
        .collect()
    }

    #[test]
    fn each_fault_of_a_driver_is_seen_by_its_check() {
        type Break = fn(&mut Image);
        let faults: &[(&str, Break)] = &[
            ("processor", |it| it.machine = pe::IMAGE_FILE_MACHINE_I386),
            ("native", |it| {
                it.subsystem = pe::IMAGE_SUBSYSTEM_WINDOWS_CUI;
            }),
            ("native", |it| it.subsystem_version = (6, 0)),
            ("native", |it| {
                it.dll_characteristics &= !pe::IMAGE_DLLCHARACTERISTICS_WDM_DRIVER;
            }),
            ("native", |it| it.characteristics = 0),
            ("native", |it| it.foreign_tables = vec![".NET"]),
            ("entry", |it| it.entry += 1),
            ("entry", |it| it.exports.push("rust_eh_personality".into())),
            ("sections", |it| {
                it.sections[1].flags |= pe::IMAGE_SCN_MEM_EXECUTE;
            }),
            ("sections", |it| {
                it.sections[1].flags |= pe::IMAGE_SCN_MEM_SHARED;
            }),
            ("sections", |it| it.sections.clear()),
            ("resident", |it| it.sections[0].name = "PAGE".into()),
            ("resident", |it| {
                it.sections[0].flags |= pe::IMAGE_SCN_MEM_DISCARDABLE;
            }),
            ("no_execute", |it| {
                it.dll_characteristics &= !pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT;
            }),
            ("no_execute", |it| it.section_alignment = 32),
            ("relocatable", |it| {
                it.dll_characteristics &= !pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE;
            }),
            ("relocatable", |it| {
                it.characteristics |= pe::IMAGE_FILE_RELOCS_STRIPPED;
            }),
        ];
        assert!(refused_by(&good()).is_empty());
        for (index, (check, fault)) in faults.iter().enumerate() {
            let mut image = good();
            fault(&mut image);
            assert_eq!(refused_by(&image), [*check], "fault {index}");
        }
    }

    #[test]
    fn a_program_that_wants_more_than_windows_has_is_refused() {
        let with = |module: &str| {
            let mut image = good();
            image.imports[0].module = module.to_owned();
            image
        };
        system(&with("kernel32.dll")).unwrap();
        system(&with("api-ms-win-core-synch-l1-2-0.dll")).unwrap();
        system(&with("libgcc_s_seh-1.dll")).unwrap_err();
        let mut nothing = good();
        nothing.imports.clear();
        system(&nothing).unwrap_err();
        console(&good()).unwrap_err();
    }
}
