//! What the linker put into the driver, name by name (LLVM's `/MAP`). Names that nothing needs were left out of it, so what can
//! panic would be here.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// The names with their addresses, if the driver is loaded where it would like to be.
pub(super) struct Map(BTreeMap<String, u64>);

impl Map {
    /// Reads lines like ` 0001:00000120       DriverEntry                0000000140001120     truemute.o`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let names: BTreeMap<String, u64> = text.lines().filter_map(symbol).collect();
        ensure!(!names.is_empty(), "the linker's map names nothing");
        Ok(Self(names))
    }

    pub(super) fn address(&self, name: &str) -> Result<u64> {
        let address = self.0.get(name);
        address
            .copied()
            .with_context(|| format!("there is no {name} in it"))
    }

    /// All of Rust's panics go through functions of `core::panicking`, which are never inlined, to the one handler.
    pub(super) fn no_panic(&self) -> Result<()> {
        let of_panics = ["panicking", "rust_begin_unwind", "panic_handler"];
        let found = self
            .0
            .keys()
            .find(|name| of_panics.iter().any(|part| name.contains(part)));
        ensure!(
            found.is_none(),
            "{} is in it",
            found.map_or("", |name| name)
        );
        Ok(())
    }
}

fn symbol(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_whitespace();
    let (section, offset) = words.next()?.split_once(':')?;
    let is_number = |text: &str, digits| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if !is_number(section, 4) || !is_number(offset, 8) {
        return None;
    }
    let (name, address) = (words.next()?, words.next()?);
    is_number(address, 16)
        .then(|| Some((name.to_owned(), u64::from_str_radix(address, 16).ok()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "\
 truemute_miniport.dll

 Preferred load address is 0000000180000000

 Start         Length     Name                   Class
 0001:00000000 00000f2bH .text                   CODE

  Address         Publics by Value              Rva+Base               Lib:Object

 0001:00000120       DriverEntry                0000000180001120     truemute.o
";

    #[test]
    fn names_have_addresses() {
        let map = Map::parse(HEAD).unwrap();
        assert_eq!(map.address("DriverEntry").unwrap(), 0x1_8000_1120);
        assert!(map.address(".text").is_err());
        map.no_panic().unwrap();
        assert!(Map::parse("").is_err());
    }

    #[test]
    fn a_way_to_panic_is_seen() {
        for name in [
            "_ZN4core9panicking18panic_bounds_check17h0123456789abcdefE",
            "_RNvCs1234_7___rustc17rust_begin_unwind",
        ] {
            let line = format!(" 0001:00000200       {name} 0000000180001200     core.o\n");
            let map = Map::parse(&(HEAD.to_owned() + &line)).unwrap();
            assert!(map.no_panic().unwrap_err().to_string().contains(name));
        }
    }
}
