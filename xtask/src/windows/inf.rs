//! The driver's INF, which tells Windows what to install and register: read as Microsoft's "General syntax rules for INF files" say, and
//! compared with the driver. A wrong name in it is how a driver comes to be installed and to give no microphone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::build::Arch;
use crate::findings::Finding;
use crate::workspace::Workspace;

/// The class of sound devices, and its GUID ("System-defined device setup classes").
const CLASS: [&str; 2] = ["MEDIA", "{4d36e96c-e325-11ce-bfc1-08002be10318}"];
/// The oldest build that the INF may be used on: Windows 10, version 2004.
const OLDEST_BUILD: &str = "10.0...19041";
const FILE: &str = "truemute.sys";
/// Interface classes of ksmedia.h and ks.h: audio, capture, realtime, topology.
const AUDIO: &str = "{6994ad04-93ef-11d0-a3cc-00a0c9223196}";
const CAPTURE: &str = "{65e8773d-8f56-11d0-a3b9-00a0c9223196}";
const REALTIME: &str = "{eb115ffc-10c8-4964-831d-6dcb02e6f23f}";
const TOPOLOGY: &str = "{dda54a40-1e4c-11d1-a050-405705c10000}";
/// Properties of an endpoint (mmdeviceapi.h): what it is for, and whether it wakes its clients. Without the second the audio engine
/// does not use packet mode.
const ASSOCIATION: &str = "{1da5d803-d492-4edd-8c23-e0c0ffee7f0e},2";
const EVENT_DRIVEN: &str = "{1da5d803-d492-4edd-8c23-e0c0ffee7f0e},7";
const ANY_NODE: &str = "{00000000-0000-0000-0000-000000000000}";

/// One line: what is before the equals sign, if there is one, and the fields after it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    key: Option<String>,
    fields: Vec<String>,
}

/// An INF. Names of sections and keys are in small letters: Windows does not tell them from others.
pub(super) struct Inf(BTreeMap<String, Vec<Line>>);

/// Where the INF is.
pub(super) fn path(workspace: &Workspace) -> PathBuf {
    workspace.root.join("driver-windows/packaging/truemute.inf")
}

/// The INF against what Windows asks for, and against the driver for each architecture.
pub(super) fn check(workspace: &Workspace, drivers: &[(Arch, PathBuf)]) -> Vec<Finding> {
    let inf = match read(&path(workspace)) {
        Ok(inf) => inf,
        Err(why) => return vec![("the INF can be read", Err(why))],
    };
    let arches: Vec<Arch> = drivers.iter().map(|(arch, _)| *arch).collect();
    let binaries = drivers.iter().map(|(_, file)| Ok(fs::read(file)?));
    let binaries: Result<Vec<Vec<u8>>> = binaries.collect();
    vec![
        ("the INF's class and version", inf.version()),
        ("the INF's systems and hardware id", inf.models(&arches)),
        ("the INF's file and service", inf.service(&arches)),
        ("the INF's parts of Windows' own", inf.needs(&arches)),
        (
            "the INF's interfaces, by the driver's names",
            binaries.and_then(|binaries| inf.interfaces(&arches, &binaries)),
        ),
        ("the INF's endpoint", inf.endpoint()),
    ]
}

fn read(path: &Path) -> Result<Inf> {
    let text = fs::read_to_string(path);
    Inf::parse(&text.with_context(|| format!("cannot read {}", path.display()))?)
}

impl Inf {
    fn parse(text: &str) -> Result<Self> {
        ensure!(
            text.is_ascii(),
            "it is not ASCII, so that its coding would matter"
        );
        let mut sections: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        let mut current: Option<String> = None;
        let mut pending = String::new();
        for line in text.lines() {
            let bare = without_comment(line).trim();
            pending.push_str(bare);
            if pending.ends_with('\\') {
                pending.pop();
                continue;
            }
            let line = std::mem::take(&mut pending);
            if line.is_empty() {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                let name = name.to_lowercase();
                ensure!(!sections.contains_key(&name), "[{name}] is there twice");
                sections.insert(name.clone(), Vec::new());
                current = Some(name);
                continue;
            }
            let section = current.as_ref().and_then(|name| sections.get_mut(name));
            section
                .with_context(|| format!("{line:?} is in no section"))?
                .push(split(&line));
        }
        let mut strings = BTreeMap::new();
        for line in sections.remove("strings").unwrap_or_default() {
            let name = line.key.context("[Strings] has a line without a name")?;
            let text = line.fields.join(",");
            let former = strings.insert(name.to_lowercase(), text);
            ensure!(
                former.is_none(),
                "[Strings] has {name} twice, in small letters or others"
            );
        }
        for line in sections.values_mut().flatten() {
            for text in line.key.iter_mut().chain(&mut line.fields) {
                *text = expand(text, &strings)?;
            }
        }
        Ok(Self(sections))
    }

    fn section(&self, name: &str) -> Result<&[Line]> {
        let section = self.0.get(&name.to_lowercase());
        Ok(section.with_context(|| format!("there is no [{name}]"))?)
    }

    /// The fields of all lines of a section with this key.
    fn all(&self, section: &str, key: &str) -> Result<Vec<&[String]>> {
        let lines = self.section(section)?.iter();
        let found = lines.filter_map(|line| {
            let found = line.key.as_ref()?.eq_ignore_ascii_case(key);
            found.then_some(&line.fields[..])
        });
        Ok(found.collect())
    }

    /// The fields of the only such line.
    fn one(&self, section: &str, key: &str) -> Result<&[String]> {
        let lines = self.all(section, key)?;
        let [line] = lines[..] else {
            bail!("[{section}] has {} lines {key}", lines.len());
        };
        Ok(line)
    }

    fn expect(&self, section: &str, key: &str, wanted: &str) -> Result<()> {
        let found = self.one(section, key)?.join(",");
        ensure!(
            found.eq_ignore_ascii_case(wanted),
            "[{section}] {key} is {found:?}, not {wanted:?}"
        );
        Ok(())
    }

    fn version(&self) -> Result<()> {
        self.expect("Version", "Signature", "$WINDOWS NT$")?;
        self.expect("Version", "Class", CLASS[0])?;
        self.expect("Version", "ClassGuid", CLASS[1])?;
        // Without it other software may change the driver's files.
        self.expect("Version", "PnpLockdown", "1")?;
        self.expect("Version", "CatalogFile", "truemute.cat")?;
        let [date, version] = self.one("Version", "DriverVer")? else {
            bail!("DriverVer is no date and version");
        };
        ensure!(
            version.strip_suffix(".0") == Some(env!("CARGO_PKG_VERSION")),
            "DriverVer is {version}, where the driver is {}.0",
            env!("CARGO_PKG_VERSION")
        );
        let date: Vec<&str> = date.split('/').collect();
        let numbers: Vec<u32> = date.iter().filter_map(|it| it.parse().ok()).collect();
        ensure!(
            matches!(numbers[..], [1..=12, 1..=31, 2024..=2099]) && date.len() == 3,
            "DriverVer's date is {date:?}, not month/day/year"
        );
        Ok(())
    }

    /// The section that installs the device, for one architecture.
    fn install_section(&self, arch: Arch) -> Result<(String, String)> {
        let [manufacturer] = self.section("Manufacturer")? else {
            bail!("there is more than one manufacturer, or none");
        };
        let decoration = format!("NT{}.{OLDEST_BUILD}", arch.name());
        let [models, decorations @ ..] = &manufacturer.fields[..] else {
            bail!("the manufacturer has no models");
        };
        ensure!(
            decorations
                .iter()
                .any(|it| it.eq_ignore_ascii_case(&decoration)),
            "the manufacturer's systems are {decorations:?}, without {decoration}"
        );
        let [model] = self.section(&format!("{models}.{decoration}"))? else {
            bail!("there is more than one device, or none");
        };
        let [install, id] = &model.fields[..] else {
            bail!("the device has more than one id, or none");
        };
        Ok((install.clone(), id.clone()))
    }

    fn models(&self, arches: &[Arch]) -> Result<()> {
        for arch in arches {
            let (_, id) = self.install_section(*arch)?;
            ensure!(
                id.eq_ignore_ascii_case(r"ROOT\TrueMute"),
                "the device is {id}"
            );
        }
        Ok(())
    }

    /// A part of the installation: `.NT` stands for all that Windows has now.
    fn part(&self, arch: Arch, suffix: &str) -> Result<String> {
        let (install, _) = self.install_section(arch)?;
        let names = [
            format!("{install}.NT{suffix}"),
            format!("{install}.NT{}{suffix}", arch.name()),
            format!("{install}{suffix}"),
        ];
        let found = names
            .iter()
            .find(|name| self.0.contains_key(&name.to_lowercase()));
        let found = found.with_context(|| format!("there is none of {names:?}"))?;
        Ok(found.clone())
    }

    fn service(&self, arches: &[Arch]) -> Result<()> {
        let destination = self.section("DestinationDirs")?;
        for arch in arches {
            let install = self.part(*arch, "")?;
            let [list] = self.one(&install, "CopyFiles")? else {
                bail!("[{install}] CopyFiles names more than one list");
            };
            let files: Vec<&str> = self
                .section(list)?
                .iter()
                .filter_map(|line| line.fields.first().map(String::as_str))
                .collect();
            ensure!(files == [FILE], "[{list}] has {files:?}");
            // 13: the folder of the driver package itself, where drivers are to stay since Windows 10 1803.
            let place = destination.iter().find(|line| {
                let key = line.key.as_deref().unwrap_or_default();
                key.eq_ignore_ascii_case(list) || key.eq_ignore_ascii_case("DefaultDestDir")
            });
            let place = place.and_then(|line| line.fields.first());
            ensure!(
                place.is_some_and(|it| it == "13"),
                "[{list}] goes to {place:?}"
            );
            let services = self.part(*arch, ".Services")?;
            let [name, flags, section] = self.one(&services, "AddService")? else {
                bail!("AddService has other fields than name, flags and section");
            };
            ensure!(
                name == "TrueMute" && number(flags) == Some(2),
                "AddService is {name}, {flags}"
            );
            self.expect(section, "ServiceBinary", &format!(r"%13%\{FILE}"))?;
            for (key, wanted) in [("ServiceType", 1), ("StartType", 3), ("ErrorControl", 1)] {
                let found = self.one(section, key)?;
                ensure!(
                    matches!(found, [one] if number(one) == Some(wanted)),
                    "[{section}] {key} is {found:?}, not {wanted}"
                );
            }
            let sources = format!("SourceDisksFiles.{}", arch.name());
            let sources = match self.0.contains_key(&sources.to_lowercase()) {
                true => sources,
                false => "SourceDisksFiles".to_owned(),
            };
            self.one(&sources, FILE)?;
        }
        Ok(())
    }

    /// ks.inf and wdmaudio.inf bring what any audio driver needs.
    fn needs(&self, arches: &[Arch]) -> Result<()> {
        for arch in arches {
            let section = self.part(*arch, "")?;
            for (key, wanted) in [
                ("Include", ["ks.inf", "wdmaudio.inf"]),
                ("Needs", ["KS.Registration", "WDMAUDIO.Registration"]),
            ] {
                let found: Vec<&String> = self.all(&section, key)?.into_iter().flatten().collect();
                for name in wanted {
                    ensure!(
                        found.iter().any(|it| it.eq_ignore_ascii_case(name)),
                        "[{section}] {key} is {found:?}, without {name}"
                    );
                }
            }
        }
        Ok(())
    }

    /// Two subdevices under names that the driver has too: one that captures, one that says what kind of thing it is.
    fn interfaces(&self, arches: &[Arch], binaries: &[Vec<u8>]) -> Result<()> {
        for (arch, binary) in arches.iter().zip(binaries) {
            let section = self.part(*arch, ".Interfaces")?;
            let mut registered: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for fields in self.all(&section, "AddInterface")? {
                let [class, name, properties] = fields else {
                    bail!("AddInterface has other fields than class, name and section: {fields:?}");
                };
                self.section(properties)?;
                registered.entry(name).or_default().push(class);
            }
            let mut kinds: Vec<Vec<&str>> = registered.values().cloned().collect();
            kinds.iter_mut().for_each(|classes| classes.sort_unstable());
            kinds.sort_unstable();
            let mut wanted = vec![vec![CAPTURE, AUDIO, REALTIME], vec![AUDIO, TOPOLOGY]];
            wanted
                .iter_mut()
                .for_each(|classes| classes.sort_unstable());
            wanted.sort_unstable();
            let lower: Vec<Vec<String>> = kinds
                .iter()
                .map(|classes| classes.iter().map(|it| it.to_lowercase()).collect())
                .collect();
            ensure!(
                lower == wanted,
                "its subdevices are in the classes {lower:?}, not {wanted:?}"
            );
            for name in registered.keys() {
                ensure!(
                    has_wide(binary, name),
                    "the driver for {} has no name {name:?}",
                    arch.name()
                );
            }
        }
        Ok(())
    }

    fn endpoint(&self) -> Result<()> {
        let values: Vec<&Line> = self
            .0
            .values()
            .flatten()
            .filter(|line| line.key.is_none() && line.fields.first().is_some_and(|it| it == "HKR"))
            .collect();
        let value = |name: &str| {
            let line = values.iter().find(|line| {
                let field = |at: usize| line.fields.get(at).map_or("", String::as_str);
                field(1).eq_ignore_ascii_case(r"EP\0") && field(2).eq_ignore_ascii_case(name)
            });
            line.and_then(|line| line.fields.get(4))
        };
        let association = value(ASSOCIATION);
        ensure!(
            association.is_some_and(|it| it == ANY_NODE),
            r"EP\0 is associated with {association:?}"
        );
        let event_driven = value(EVENT_DRIVEN);
        ensure!(
            event_driven.and_then(|it| number(it)) == Some(1),
            r"EP\0 is event-driven: {event_driven:?}"
        );
        Ok(())
    }
}

/// A line without what a semicolon outside of quotes begins.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, sign) in line.char_indices() {
        match sign {
            '"' => quoted = !quoted,
            ';' if !quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

/// A line at its first equals sign and its commas, outside of quotes; quotes are taken away.
fn split(line: &str) -> Line {
    let (mut quoted, mut key, mut fields, mut field) = (false, None, Vec::new(), String::new());
    let mut signs = line.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            // Two of them stand for one.
            '"' if quoted && signs.peek() == Some(&'"') => {
                signs.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            '=' if !quoted && key.is_none() && fields.is_empty() => {
                key = Some(std::mem::take(&mut field).trim().to_owned());
            }
            ',' if !quoted => fields.push(std::mem::take(&mut field).trim().to_owned()),
            _ => field.push(sign),
        }
    }
    fields.push(field.trim().to_owned());
    Line { key, fields }
}

/// Puts in what `[Strings]` says for `%name%`. Numbers stand for folders, and stay.
fn expand(text: &str, strings: &BTreeMap<String, String>) -> Result<String> {
    let parts: Vec<&str> = text.split('%').collect();
    ensure!(
        parts.len() % 2 == 1,
        "a percent sign stands alone in {text:?}"
    );
    let mut whole = String::new();
    for (index, part) in parts.iter().enumerate() {
        if index % 2 == 0 {
            whole += part;
        } else if part.bytes().all(|byte| byte.is_ascii_digit()) {
            whole += &format!("%{part}%");
        } else {
            let string = strings.get(&part.to_lowercase());
            whole += string.with_context(|| format!("[Strings] has no {part}"))?;
        }
    }
    Ok(whole)
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Whether a binary has this text as Windows has texts: in UTF-16, with a zero at its end.
fn has_wide(binary: &[u8], text: &str) -> bool {
    let wide = text.encode_utf16().chain([0]);
    let needle: Vec<u8> = wide.flat_map(u16::to_le_bytes).collect();
    binary.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = include_str!("../../../driver-windows/packaging/truemute.inf");

    /// The checks that refuse an INF, for a driver with the names of ours.
    fn refused_by(text: &str) -> Vec<(&'static str, String)> {
        let names = "\0WaveTrueMute\0TopologyTrueMute\0";
        let binary: Vec<u8> = names.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let binaries = [binary.clone(), binary];
        let inf = match Inf::parse(text) {
            Ok(inf) => inf,
            Err(why) => return vec![("parse", why.to_string())],
        };
        [
            ("version", inf.version()),
            ("models", inf.models(&Arch::ALL)),
            ("service", inf.service(&Arch::ALL)),
            ("needs", inf.needs(&Arch::ALL)),
            ("interfaces", inf.interfaces(&Arch::ALL, &binaries)),
            ("endpoint", inf.endpoint()),
        ]
        .into_iter()
        .filter_map(|(name, verdict)| Some((name, verdict.err()?.to_string())))
        .collect()
    }

    #[test]
    fn ours_is_taken() {
        assert!(refused_by(OURS).is_empty(), "{:?}", refused_by(OURS));
    }

    #[test]
    fn each_fault_is_seen_by_its_check() {
        for (check, right, wrong) in [
            ("version", "$WINDOWS NT$", "$CHICAGO$"),
            ("version", "4d36e96c", "4d36e96d"),
            ("version", "0.1.0.0", "0.1.1.0"),
            ("version", "11/22/2026", "22/11/2026"),
            ("version", "PnpLockdown = 1", "PnpLockdown = 0"),
            (
                "models",
                r"TrueMute.Install,ROOT\TrueMute",
                r"TrueMute.Install,ROOT\Other",
            ),
            ("service", r"%13%\truemute.sys", r"%12%\truemute.sys"),
            ("service", "TrueMute.Files = 13", "TrueMute.Files = 12"),
            ("service", "truemute.sys = 1", "other.sys = 1"),
            ("service", "ServiceType   = 1", "ServiceType   = 2"),
            ("service", "TrueMute,0x00000002", "TrueMute,0x00000000"),
            ("needs", "ks.inf,wdmaudio.inf", "ks.inf"),
            ("needs", "WDMAUDIO.Registration", "WDMAUDIO.Other"),
            ("interfaces", "\"WaveTrueMute\"", "\"Wave\""),
            (
                "interfaces",
                "AddInterface = %CAPTURE%",
                "; AddInterface = %CAPTURE%",
            ),
            (
                "interfaces",
                "%TOPOLOGY%,%TopologyName%",
                "%CAPTURE%,%TopologyName%",
            ),
            ("endpoint", "0x00010001,0x1", "0x00010001,0x0"),
            ("endpoint", "%Association%", "%EventDriven%"),
            ("parse", "%Disk%", "%Nothing%"),
            ("parse", "\nAny  ", "\nTopology = \"\"\nAny  "),
        ] {
            assert!(OURS.contains(right), "{right}");
            let refused = refused_by(&OURS.replace(right, wrong));
            let by_it = refused.iter().any(|(name, _)| *name == check);
            assert!(by_it, "{wrong}: refused by {refused:?}");
        }
        // Without its decoration nothing is installed at all.
        let refused = refused_by(&OURS.replace("NTarm64.10.0...19041", "NTarm64"));
        assert_eq!(refused[0].0, "models");
    }

    #[test]
    fn lines_are_taken_apart_as_windows_does() {
        let text =
            "[A] ; first\nkey = one, \"two; 2, \"\"x\"\"\",\\\n  %three%\n[Strings]\nThree=\"3\"\n";
        let inf = Inf::parse(text).unwrap();
        let [line] = inf.section("a").unwrap() else {
            panic!("one line")
        };
        assert_eq!(line.key.as_deref(), Some("key"));
        assert_eq!(line.fields, ["one", "two; 2, \"x\"", "3"]);
        assert!(Inf::parse("key = 1\n").is_err());
    }
}
