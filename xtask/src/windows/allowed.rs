//! What the driver may call of the system: a committed table (driver-windows/miniport/imports.tsv), each name with the module that has it, the
//! Windows that has it first, and the page that says both. An import that an older Windows lacks keeps the driver from loading there; what
//! it asks for by name when it is loaded (`MmGetSystemRoutineAddress`) stands in its data, and is held to the same.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use super::pe::{Image, Import};
use crate::workspace::Workspace;

/// What the driver's header says, as all since Windows 10 do.
pub(super) const OLDEST_SYSTEM: (u16, u16) = (10, 0);
/// What `since` may say: the systems up to the oldest that the driver is for, as Microsoft's pages call them; of some functions they say
/// nothing, for those are older than all of these.
const SYSTEMS: &[&str] = &[
    "not said",
    "Windows 2000",
    "Windows XP",
    "Windows Server 2003 SP1",
    "Windows Vista",
    "Windows 7",
    "Windows 8",
    "Windows 8.1",
    "Windows 10",
    "Windows 10, version 1511",
    "Windows 10, version 2004",
];
/// Where the kernel looks for what is asked for by name, beside the HAL.
const KERNEL: &str = "ntoskrnl.exe";
/// The driver's own names have this in them; every other text in its data is one of the system's.
const OWN: &str = "TrueMute";
const PAGES: &str = "https://learn.microsoft.com/en-us/windows-hardware/drivers/ddi/";

/// The table.
pub(super) struct Allowed {
    imports: Vec<Import>,
    /// What is asked for by name.
    names: BTreeSet<String>,
}

impl Allowed {
    pub(super) fn read(workspace: &Workspace) -> Result<Self> {
        let file = workspace.root.join("driver-windows/miniport/imports.tsv");
        let text = fs::read_to_string(&file);
        Self::parse(&text.with_context(|| format!("cannot read {}", file.display()))?)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        ensure!(
            lines.next() == Some("how\tmodule\tname\tsince\tpage"),
            "the table of imports has other columns"
        );
        let mut allowed = Self {
            imports: Vec::new(),
            names: BTreeSet::new(),
        };
        for line in lines {
            let row: Vec<&str> = line.split('\t').collect();
            let [how, module, name, since, page] = row[..] else {
                bail!("the table of imports has a line without five columns: {line}");
            };
            ensure!(
                SYSTEMS.contains(&since),
                "{name} is there since {since:?}, which is no system up to our oldest"
            );
            ensure!(
                page.starts_with(PAGES),
                "{name}: {page:?} is no page of the documentation"
            );
            let new = match how {
                "import" => {
                    allowed.imports.push(Import {
                        module: module.to_owned(),
                        name: name.to_owned(),
                    });
                    true
                }
                "name" if module == KERNEL => allowed.names.insert(name.to_owned()),
                _ => bail!("{name} of {module} cannot be had by {how:?}"),
            };
            ensure!(new, "{name} is in the table twice");
        }
        Ok(allowed)
    }

    /// Fails for an import that is not in the table, and for a line of the table that nothing imports.
    pub(super) fn check_imports(&self, image: &Image) -> Result<()> {
        let imports = &image.imports;
        ensure!(!imports.is_empty(), "it imports nothing");
        for (some, others, what) in [
            (imports, &self.imports, "is not in the table"),
            (&self.imports, imports, "is in the table and not imported"),
        ] {
            let lone = some.iter().find(|import| !others.contains(import));
            if let Some(Import { module, name }) = lone {
                bail!("{name} from {module} {what}");
            }
        }
        Ok(())
    }

    /// The same for what is asked for by name.
    pub(super) fn check_names(&self, image: &Image) -> Result<()> {
        let asked: BTreeSet<String> = image
            .texts
            .iter()
            .filter(|text| !text.contains(OWN))
            .cloned()
            .collect();
        if let Some(name) = asked.difference(&self.names).next() {
            bail!("it has the text {name:?}, which is no name of ours and is not in the table");
        }
        if let Some(name) = self.names.difference(&asked).next() {
            bail!("{name} is in the table and not asked for");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::check::good;

    fn import(module: &str, name: &str) -> Import {
        Import {
            module: module.to_owned(),
            name: name.to_owned(),
        }
    }

    fn table(rows: &str) -> Result<Allowed> {
        Allowed::parse(&format!("how\tmodule\tname\tsince\tpage\n{rows}"))
    }

    fn row(how: &str, module: &str, name: &str) -> String {
        format!("{how}\t{module}\t{name}\tWindows 2000\t{PAGES}wdm/nf-wdm\n")
    }

    #[test]
    fn imports_and_table_are_the_same() {
        let allowed = table(&row("import", KERNEL, "IoCreateDevice")).unwrap();
        let check = |imports: &[Import]| {
            allowed.check_imports(&Image {
                imports: imports.to_vec(),
                ..good()
            })
        };
        let create = import(KERNEL, "IoCreateDevice");
        check(std::slice::from_ref(&create)).unwrap();
        // From elsewhere, one more, one less, none.
        check(&[import("hal.dll", "IoCreateDevice")]).unwrap_err();
        let more = [create, import(KERNEL, "MmMapIoSpace")];
        check(&more).unwrap_err();
        check(&more[1..]).unwrap_err();
        check(&[]).unwrap_err();
    }

    #[test]
    fn names_and_table_are_the_same() {
        let allowed = table(&row("name", KERNEL, "ExSetTimer")).unwrap();
        let check = |texts: &[&str]| {
            allowed.check_names(&Image {
                texts: texts.iter().map(|&text| text.to_owned()).collect(),
                ..good()
            })
        };
        check(&["ExSetTimer", r"\Device\TrueMute"]).unwrap();
        check(&["ExSetTimer", "MmMapIoSpace"]).unwrap_err();
        check(&["MmMapIoSpace"]).unwrap_err();
        check(&["WaveTrueMute"]).unwrap_err();
        check(&[]).unwrap_err();
    }

    #[test]
    fn a_line_without_its_source_is_refused() {
        for row in [
            format!("import\t{KERNEL}\tIoNew\tWindows 11\t{PAGES}wdm/nf-wdm-ionew\n"),
            format!("import\t{KERNEL}\tIoOld\tWindows 2000\thttps://example.org/\n"),
            format!("import\t{KERNEL}\tIoOld\tWindows 2000\n"),
            row("guess", KERNEL, "IoOld"),
            // The kernel looks nowhere else.
            row("name", "portcls.sys", "PcNewPort"),
            row("name", KERNEL, "IoOld").repeat(2),
        ] {
            assert!(table(&row).is_err(), "{row}");
        }
    }
}
