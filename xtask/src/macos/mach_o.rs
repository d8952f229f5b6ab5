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

/// A Mach-O file of nothing but what the checks look at, for their tests.
#[cfg(test)]
pub(super) struct Made<'a> {
    /// `CPU_TYPE_ARM64` and so on.
    pub(super) processor: u32,
    pub(super) kind: u32,
    pub(super) flags: u32,
    /// As `major << 16 | minor << 8`.
    pub(super) oldest_system: u32,
    pub(super) libraries: Vec<&'a str>,
    pub(super) paths: Vec<&'a str>,
    /// Names with the number of their library, from 1 on.
    pub(super) imports: Vec<(&'a str, u16)>,
    pub(super) exports: Vec<&'a str>,
}

#[cfg(test)]
impl Made<'_> {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let words = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        // A command with a text behind `head`, whose place stands third in it.
        let with_text = |head: &[u32], text: &str| {
            let mut name = text.as_bytes().to_vec();
            name.resize((name.len() + 8) & !7, 0);
            if head.len() % 2 == 1 {
                name.extend([0; 4]);
            }
            let mut command = words(head);
            command.extend(name);
            let length = size(&command);
            command[4..8].copy_from_slice(&length.to_le_bytes());
            command
        };
        let mut commands = vec![words(&[
            macho::LC_BUILD_VERSION,
            24,
            macho::PLATFORM_MACOS,
            self.oldest_system,
            0,
            0,
        ])];
        for library in &self.libraries {
            commands.push(with_text(&[macho::LC_LOAD_DYLIB, 0, 24, 0, 0, 0], library));
        }
        for path in &self.paths {
            commands.push(with_text(&[macho::LC_RPATH, 0, 12], path));
        }
        let (mut names, mut symbols) = (vec![0_u8], Vec::new());
        let exports = self
            .exports
            .iter()
            .map(|name| (name, macho::N_SECT | macho::N_EXT, 1, 0));
        let imports = self
            .imports
            .iter()
            .map(|(name, library)| (name, macho::N_EXT, 0, library << 8));
        for (name, kind, section, description) in exports.chain(imports) {
            symbols.extend(size(&names).to_le_bytes());
            symbols.extend([kind, section]);
            symbols.extend(description.to_le_bytes());
            symbols.extend(0_u64.to_le_bytes());
            names.extend(name.bytes().chain([0]));
        }
        let before: u32 = commands.iter().map(|it| size(it)).sum();
        let (tables, count) = (32 + before + 24 + 80, size(&symbols) / 16);
        let names_at = tables + size(&symbols);
        commands.push(words(&[
            macho::LC_SYMTAB,
            24,
            tables,
            count,
            names_at,
            size(&names),
        ]));
        let defined = u32::try_from(self.exports.len()).unwrap();
        let mut dynamic = words(&[
            macho::LC_DYSYMTAB,
            80,
            0,
            0,
            0,
            defined,
            defined,
            count - defined,
        ]);
        dynamic.resize(80, 0);
        commands.push(dynamic);
        let number = u32::try_from(commands.len()).unwrap();
        let commands = commands.concat();
        let mut bytes = words(&[
            macho::MH_MAGIC_64,
            self.processor,
            0,
            self.kind,
            number,
            size(&commands),
            self.flags,
            0,
        ]);
        bytes.extend(commands);
        bytes.extend(symbols);
        bytes.extend(names);
        bytes
    }
}
