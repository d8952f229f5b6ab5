//! What is in a Mach-O file, for each processor that it is for; read with the crate `object`.

use anyhow::{Context, Result, bail};
use object::macho;
use object::read::macho::{
    FatArch as _, LoadCommandVariant, MachHeader as _, MachOFatFile32, MachOFile64,
};
use object::{Endianness, FileKind, Object as _, ObjectSection as _};

use super::build::Arch;

/// The part of a file that is for one processor.
pub(super) struct Slice<'a> {
    /// Which.
    pub(super) arch: Arch,
    /// Its bytes.
    pub(super) bytes: &'a [u8],
    file: MachOFile64<'a, Endianness>,
}

/// All of them.
pub(super) fn slices(bytes: &[u8]) -> Result<Vec<Slice<'_>>> {
    let parts = match FileKind::parse(bytes)? {
        FileKind::MachOFat32 => {
            let fat = MachOFatFile32::parse(bytes)?;
            let parts = fat.arches().iter().map(|arch| arch.data(bytes));
            parts.collect::<Result<Vec<_>, _>>()?
        }
        _ => vec![bytes],
    };
    parts.into_iter().map(Slice::parse).collect()
}

/// A function or variable that another library has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) name: String,
    pub(super) library: String,
}

impl<'a> Slice<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        let file = MachOFile64::<Endianness>::parse(bytes)?;
        let arch = match file.architecture() {
            object::Architecture::Aarch64 => Arch::Arm64,
            object::Architecture::X86_64 => Arch::X86_64,
            other => bail!("it is for {other:?}"),
        };
        Ok(Self { arch, bytes, file })
    }

    /// `MH_BUNDLE`, `MH_EXECUTE` and so on (mach-o/loader.h).
    pub(super) fn kind(&self) -> u32 {
        self.file.macho_header().filetype(self.file.endian())
    }

    /// The flags of its header, `MH_PIE` and so on.
    pub(super) fn flags(&self) -> u32 {
        self.file.macho_header().flags(self.file.endian())
    }

    pub(super) fn imports(&self) -> Result<Vec<Import>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let imports = self.file.imports()?;
        let imports = imports.iter().map(|import| Import {
            name: text(import.name()),
            library: text(import.library()),
        });
        Ok(imports.collect())
    }

    pub(super) fn exports(&self) -> Result<Vec<String>> {
        let exports = self.file.exports()?;
        let names = exports.iter().map(|it| String::from_utf8_lossy(it.name()));
        Ok(names.map(|name| name.into_owned()).collect())
    }

    /// The libraries that it asks for, by their install names, and the paths that it asks to have searched.
    pub(super) fn libraries(&self) -> Result<(Vec<String>, Vec<String>)> {
        let (mut libraries, mut paths) = (Vec::new(), Vec::new());
        let endian = self.file.endian();
        let mut commands = self.file.macho_load_commands()?;
        while let Some(command) = commands.next()? {
            let text = |place| -> Result<String> {
                Ok(String::from_utf8_lossy(command.string(endian, place)?).into_owned())
            };
            match command.variant()? {
                LoadCommandVariant::Dylib(dylib) => libraries.push(text(dylib.dylib.name)?),
                LoadCommandVariant::Rpath(path) => paths.push(text(path.path)?),
                _ => {}
            }
        }
        Ok((libraries, paths))
    }

    /// The oldest macOS that it says it runs on, as `11.0`.
    pub(super) fn oldest_system(&self) -> Result<String> {
        let version = self.file.build_version()?;
        let version = version.context("there is no LC_BUILD_VERSION")?;
        let packed = version.minos.get(self.file.endian());
        Ok(format!("{}.{}", packed >> 16, packed >> 8 & 0xff))
    }

    /// The bytes of a section.
    pub(super) fn section(&self, name: &str) -> Option<&'a [u8]> {
        self.file
            .section_by_name(name)
            .and_then(|section| section.data().ok())
    }

    /// What LC_CODE_SIGNATURE points at.
    pub(super) fn signature(&self) -> Result<&'a [u8]> {
        let endian = self.file.endian();
        let mut commands = self.file.macho_load_commands()?;
        while let Some(command) = commands.next()? {
            if let LoadCommandVariant::LinkeditData(place) = command.variant()?
                && command.cmd() == macho::LC_CODE_SIGNATURE
            {
                let start = place.dataoff.get(endian) as usize;
                let end = start + place.datasize.get(endian) as usize;
                return self
                    .bytes
                    .get(start..end)
                    .context("its signature is cut off");
            }
        }
        bail!("it is not signed")
    }
}
