//! What the driver may import: a committed table (driver-windows/miniport/imports.tsv), each name with the module that has it, the
//! Windows that has it first, and the page that says both. A name that an older Windows lacks keeps the driver from loading there.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::pe::Import;
use crate::workspace::Workspace;

/// What the driver's header says, as all since Windows 10 do.
pub(super) const OLDEST_SYSTEM: (u16, u16) = (10, 0);
/// What `since` may say: the systems up to the oldest that the driver is for, as Microsoft's pages call them; of some functions they say
/// nothing, for those are older than all of these.
const SYSTEMS: &[&str] = &[
    "not said",
    "Windows 2000",
    "Windows XP",
    "Windows Vista",
    "Windows 7",
    "Windows 8",
    "Windows 8.1",
    "Windows 10",
    "Windows 10, version 1511",
    "Windows 10, version 2004",
];
const PAGES: &str = "https://learn.microsoft.com/en-us/windows-hardware/drivers/ddi/";

/// The table.
pub(super) struct Allowed(Vec<Import>);

impl Allowed {
    pub(super) fn read(workspace: &Workspace) -> Result<Self> {
        let file = workspace.root.join("driver-windows/miniport/imports.tsv");
        let text = fs::read_to_string(&file);
        Self::parse(&text.with_context(|| format!("cannot read {}", file.display()))?)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        ensure!(
            lines.next() == Some("module\tname\tsince\tpage"),
            "the table of imports has other columns"
        );
        let rows = lines.map(|line| {
            let row: Vec<&str> = line.split('\t').collect();
            let [module, name, since, page] = row[..] else {
                anyhow::bail!("the table of imports has a line without four columns: {line}");
            };
            ensure!(
                SYSTEMS.contains(&since),
                "{name} is there since {since:?}, which is no system up to our oldest"
            );
            ensure!(
                page.starts_with(PAGES),
                "{name}: {page:?} is no page of the documentation"
            );
            Ok(Import {
                module: module.to_owned(),
                name: name.to_owned(),
            })
        });
        Ok(Self(rows.collect::<Result<_>>()?))
    }

    /// Fails for an import that is not in the table, and for a line of the table that nothing imports.
    pub(super) fn check(&self, imports: &[Import]) -> Result<()> {
        ensure!(!imports.is_empty(), "it imports nothing");
        for (some, others, what) in [
            (imports, &self.0[..], "is not in the table"),
            (&self.0[..], imports, "is in the table and not imported"),
        ] {
            let lone = some.iter().find(|import| !others.contains(import));
            if let Some(Import { module, name }) = lone {
                anyhow::bail!("{name} from {module} {what}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(module: &str, name: &str) -> Import {
        Import {
            module: module.to_owned(),
            name: name.to_owned(),
        }
    }

    fn table(rows: &str) -> Result<Allowed> {
        Allowed::parse(&format!("module\tname\tsince\tpage\n{rows}"))
    }

    #[test]
    fn imports_and_table_are_the_same() {
        let row = format!(
            "ntoskrnl.exe\tIoCreateDevice\tWindows 2000\t{PAGES}wdm/nf-wdm-iocreatedevice\n"
        );
        let allowed = table(&row).unwrap();
        let create = import("ntoskrnl.exe", "IoCreateDevice");
        allowed.check(std::slice::from_ref(&create)).unwrap();
        // From elsewhere, one more, one less, none.
        allowed
            .check(&[import("hal.dll", "IoCreateDevice")])
            .unwrap_err();
        let more = [create, import("ntoskrnl.exe", "MmMapIoSpace")];
        allowed.check(&more).unwrap_err();
        allowed.check(&more[1..]).unwrap_err();
        allowed.check(&[]).unwrap_err();
    }

    #[test]
    fn a_line_without_its_source_is_refused() {
        for row in [
            format!("ntoskrnl.exe\tIoNew\tWindows 11\t{PAGES}wdm/nf-wdm-ionew\n"),
            "ntoskrnl.exe\tIoCreateDevice\tWindows 2000\thttps://example.org/\n".to_owned(),
            "ntoskrnl.exe\tIoCreateDevice\tWindows 2000\n".to_owned(),
        ] {
            assert!(table(&row).is_err(), "{row}");
        }
    }
}
