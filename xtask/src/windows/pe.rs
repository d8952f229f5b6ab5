//! What is in a program or driver for Windows (Microsoft's "PE Format"); read with the crate `object`.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use object::pe::{
    IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR, IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT,
    IMAGE_DIRECTORY_ENTRY_TLS, IMAGE_SCN_CNT_INITIALIZED_DATA, ImageNtHeaders64,
};
use object::read::pe::{Import as Thunk, PeFile64};
use object::{LittleEndian as LE, Object as _};

/// A function that another module has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    /// The module, in small letters: Windows does not tell them from others.
    pub(super) module: String,
    pub(super) name: String,
}

/// A part of the image that is mapped with one protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    /// `IMAGE_SCN_MEM_EXECUTE` and so on.
    pub(super) flags: u32,
}

/// What its headers and tables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// `IMAGE_FILE_MACHINE_AMD64` and so on.
    pub(super) machine: u16,
    /// `IMAGE_FILE_RELOCS_STRIPPED` and so on.
    pub(super) characteristics: u16,
    /// `IMAGE_SUBSYSTEM_NATIVE` and so on.
    pub(super) subsystem: u16,
    /// The oldest version of it that may run this.
    pub(super) subsystem_version: (u16, u16),
    /// `IMAGE_DLLCHARACTERISTICS_NX_COMPAT` and so on.
    pub(super) dll_characteristics: u16,
    pub(super) section_alignment: u32,
    /// Where it is entered, if it is loaded where it would like to be.
    pub(super) entry: u64,
    /// What its header says that [`checksum`] is.
    pub(super) checksum: u32,
    pub(super) sections: Vec<Section>,
    pub(super) imports: Vec<Import>,
    pub(super) exports: Vec<String>,
    /// The texts in its data as Windows has them, in UTF-16 with a zero at the end; each once, and only ASCII.
    pub(super) texts: BTreeSet<String>,
    /// Those of its tables that no driver has: thread-local storage, delayed imports, .NET.
    pub(super) foreign_tables: Vec<&'static str>,
}

impl Image {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let file = PeFile64::parse(bytes)?;
        let headers = file.nt_headers();
        let (header, optional) = (&headers.file_header, &headers.optional_header);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut imports = Vec::new();
        if let Some(table) = file.import_table()? {
            let mut modules = table.descriptors()?;
            while let Some(module) = modules.next()? {
                let name = text(table.name(module.name.get(LE))?).to_lowercase();
                let mut thunks = table.thunks(module.original_first_thunk.get(LE))?;
                while let Some(thunk) = thunks.next::<ImageNtHeaders64>()? {
                    let Thunk::Name(_, function) = table.import::<ImageNtHeaders64>(thunk)? else {
                        anyhow::bail!("it has a function of {name} by number");
                    };
                    imports.push(Import {
                        module: name.clone(),
                        name: text(function),
                    });
                }
            }
        }
        let sections = file.section_table();
        let mut texts = BTreeSet::new();
        for section in sections.iter() {
            if section.characteristics.get(LE) & IMAGE_SCN_CNT_INITIALIZED_DATA != 0 {
                texts.extend(wide_texts(section.pe_data(bytes).unwrap_or_default()));
            }
        }
        let sections = sections.iter().map(|section| Section {
            name: text(section.raw_name()),
            flags: section.characteristics.get(LE),
        });
        let exports = file.exports()?;
        let tables = [
            ("thread-local storage", IMAGE_DIRECTORY_ENTRY_TLS),
            ("delayed imports", IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT),
            (".NET", IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR),
        ];
        let is_there = |number: usize| {
            let table = file.data_directories().get(number);
            table.is_some_and(|table| table.size.get(LE) != 0)
        };
        Ok(Self {
            machine: header.machine.get(LE),
            characteristics: header.characteristics.get(LE),
            subsystem: optional.subsystem.get(LE),
            subsystem_version: (
                optional.major_subsystem_version.get(LE),
                optional.minor_subsystem_version.get(LE),
            ),
            dll_characteristics: optional.dll_characteristics.get(LE),
            section_alignment: optional.section_alignment.get(LE),
            entry: optional.image_base.get(LE) + u64::from(optional.address_of_entry_point.get(LE)),
            checksum: optional.check_sum.get(LE),
            sections: sections.collect(),
            imports,
            texts,
            exports: exports.iter().map(|it| text(it.name())).collect(),
            foreign_tables: tables
                .into_iter()
                .filter_map(|(name, number)| is_there(number).then_some(name))
                .collect(),
        })
    }
}

/// The texts in some data: what is shorter is taken for numbers.
fn wide_texts(data: &[u8]) -> Vec<String> {
    const SHORTEST: usize = 4;
    let units = data
        .as_chunks()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit));
    let mut texts = Vec::new();
    let mut text = String::new();
    for unit in units {
        match u8::try_from(unit) {
            Ok(letter) if letter.is_ascii_graphic() => text.push(letter.into()),
            Ok(0) if text.len() >= SHORTEST => texts.push(std::mem::take(&mut text)),
            _ => text.clear(),
        }
    }
    texts
}

/// The sum that the header of a driver must carry: of all 16-bit words with the carry taken in, the place of the sum itself left out,
/// and the length added (Microsoft's `CheckSumMappedFile`; Windows refuses a driver whose sum is wrong).
pub(super) fn checksum(bytes: &[u8]) -> Result<u32> {
    let header = bytes.get(0x3c..0x40).context("it is cut off")?;
    // Past the signature (4), the file header (20), and 64 bytes into the optional header.
    let place = u32::from_le_bytes(header.try_into()?) as usize + 4 + 20 + 64;
    ensure!(place.is_multiple_of(2), "its headers lie at an odd place");
    let words = bytes.chunks(2).enumerate();
    let sum = words.fold(0_u32, |sum, (index, word)| {
        if index * 2 == place || index * 2 == place + 2 {
            return sum;
        }
        let word = u32::from(word[0]) | u32::from(word.get(1).copied().unwrap_or(0)) << 8;
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    Ok(sum + u32::try_from(bytes.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_ends_with_a_zero() {
        let data: Vec<u8> = "\0IoOne\0abc\0\u{fffd}ZwTwo\0cut off"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(wide_texts(&data), ["IoOne", "ZwTwo"]);
    }
}
