//! One process as /proc shows it: start time, names, pids in its namespaces, open sockets. Every look goes through one
//! descriptor of its /proc directory, so that all answers are about one process, even if its pid is given to another
//! meanwhile (the kernel then answers ESRCH). What the bytes mean is parsed here too: a process writes its own name into
//! some of them, in any encoding, hence by hand and on bytes (the procfs crate 0.18 refuses the whole file then).

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, readlinkat, stat, statat};
use rustix::io;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// More than the kernel writes into any of the files read here.
const LONGEST_FILE: u64 = 64 * 1024;

/// A process, from one consistent look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// In our pid namespace.
    pub(crate) pid: u32,
    /// As it sees itself.
    pub(crate) own_pid: u32,
    /// When it started, in clock ticks since boot. With the pid it names a process once and for all.
    pub(crate) started: u64,
    /// The file it runs, if we may see it and the path means the same file to us as to it.
    pub(crate) executable: Option<PathBuf>,
    /// The kernel's short name for it (at most 15 bytes), which it can change.
    pub(crate) command: String,
    /// The name to show: of `executable`, or the one it was started by where that is another name of the same file in the
    /// same directory (`arecord` of `aplay`, `pipewire-pulse` of `pipewire`). Without `executable` it is `command`.
    pub(crate) name: String,
}

/// The open /proc directory of one process.
pub(super) struct ProcDir {
    pid: u32,
    dir: OwnedFd,
}

impl ProcDir {
    /// Pins the process that has this pid now; an error when there is none.
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        let dir = openat(
            CWD,
            format!("/proc/{pid}"),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self { pid, dir })
    }

    /// Everything but its sockets. None if it has ended.
    pub(super) fn look(&self) -> Option<Process> {
        let (command, started) = parse_stat(&self.read("stat").ok()?)?;
        let executable = self.executable();
        let name = match &executable {
            Some(path) => name_of(path, &command),
            None => command.clone(),
        };
        Some(Process {
            pid: self.pid,
            own_pid: self.own_pid().unwrap_or(self.pid),
            started,
            executable,
            command,
            name,
        })
    }

    /// Its pid in the innermost pid namespace that it is in. None if it has ended, or the kernel does not say (built
    /// without pid namespaces).
    pub(super) fn own_pid(&self) -> Option<u32> {
        parse_own_pid(&self.read("status").ok()?)
    }

    /// The process that it is a thread of, which is itself for a process.
    pub(super) fn thread_group(&self) -> Option<u32> {
        parse_thread_group(&self.read("status").ok()?)
    }

    /// Inodes of the sockets among its descriptors. An error where we may not look.
    pub(super) fn sockets(&self) -> io::Result<BTreeSet<u32>> {
        let fds = openat(
            &self.dir,
            "fd",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut sockets = BTreeSet::new();
        for entry in Dir::read_from(&fds)? {
            // A descriptor that is closed meanwhile is no error.
            let Ok(entry) = entry else { continue };
            if let Ok(target) = readlinkat(&fds, entry.file_name(), Vec::new()) {
                sockets.extend(parse_socket(target.to_bytes()));
            }
        }
        Ok(sockets)
    }

    /// The path of the file it runs. A process in a mount namespace of its own chooses what its paths mean (it can mount
    /// its file over /usr/bin/zoom), so the path counts only if it leads us to that very file, or if we share the
    /// namespace. After an upgrade the kernel adds " (deleted)": the path is then that of the file it once started from.
    fn executable(&self) -> Option<PathBuf> {
        let link = readlinkat(&self.dir, "exe", Vec::new()).ok()?;
        let file = statat(&self.dir, "exe", AtFlags::empty()).ok()?;
        let path = Path::new(OsStr::from_bytes(link.to_bytes()));
        if !path.is_absolute() {
            return None;
        }
        if let Ok(ours) = stat(path)
            && (ours.st_dev, ours.st_ino) == (file.st_dev, file.st_ino)
        {
            return Some(path.to_owned());
        }
        let theirs = readlinkat(&self.dir, "ns/mnt", Vec::new()).ok()?;
        let ours = readlinkat(CWD, "/proc/self/ns/mnt", Vec::new()).ok()?;
        if theirs != ours {
            return None;
        }
        let path = link.to_bytes();
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        Some(Path::new(OsStr::from_bytes(path)).to_owned())
    }

    fn read(&self, file: &str) -> std::io::Result<Vec<u8>> {
        let file = openat(
            &self.dir,
            file,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut bytes = Vec::new();
        std::fs::File::from(file)
            .take(LONGEST_FILE)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Pids of all processes that we can see.
pub(super) fn all_pids() -> Vec<u32> {
    let Ok(proc) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    proc.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// `command` where it is another name of the same file beside it, else the file's own name.
fn name_of(executable: &Path, command: &str) -> String {
    let alias = Path::new(command);
    let plain = alias.file_name() == Some(alias.as_os_str());
    let same_file = |beside: PathBuf| match (stat(&beside), stat(executable)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    };
    if plain
        && executable
            .parent()
            .is_some_and(|dir| same_file(dir.join(alias)))
    {
        return command.to_owned();
    }
    executable
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Command name and start time from /proc/PID/stat: fields 2 and 22 (proc(5)). The name can hold anything, brackets and
/// line ends too, so the numbers begin after the last bracket.
pub(super) fn parse_stat(stat: &[u8]) -> Option<(String, u64)> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let command = stat.get(open + 1..close)?;
    let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
    let started = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some((String::from_utf8_lossy(command).into_owned(), started))
}

/// The pid in the line `Tgid:` of /proc/PID/status (proc(5)).
pub(super) fn parse_thread_group(status: &[u8]) -> Option<u32> {
    let line = status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"Tgid:"))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

/// The last pid of the line `NSpid:` in /proc/PID/status (proc(5)): one pid per nested namespace, the innermost last. The
/// name stands in its own line above, in which the kernel escapes line ends.
pub(super) fn parse_own_pid(status: &[u8]) -> Option<u32> {
    let line = status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"NSpid:"))?;
    std::str::from_utf8(line)
        .ok()?
        .split_ascii_whitespace()
        .next_back()?
        .parse()
        .ok()
}

/// `socket:[INODE]`, as the links in /proc/PID/fd read. sock_diag knows inodes of 32 bits only, as sockets have them.
pub(super) fn parse_socket(link: &[u8]) -> Option<u32> {
    let inode = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inode).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_with_brackets_and_line_ends_does_not_shift_the_start_time() {
        let stat =
            b"17 (a) R 1 (\n b)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21\n";
        assert_eq!(parse_stat(stat), Some(("a) R 1 (\n b)".to_owned(), 4242)));
    }

    #[test]
    fn the_innermost_pid_is_the_last() {
        assert_eq!(
            parse_own_pid(b"Name:\tx\nNSpid:\t4711\t33\t2\nNSpgid:\t1\n"),
            Some(2)
        );
        assert_eq!(parse_own_pid(b"Name:\tNSpid: 9\nPid:\t3\n"), None);
    }

    #[test]
    fn only_links_to_sockets_have_a_socket_inode() {
        assert_eq!(parse_socket(b"socket:[123]"), Some(123));
        assert_eq!(parse_socket(b"pipe:[123]"), None);
        assert_eq!(parse_socket(b"socket:[99999999999]"), None);
    }

    #[test]
    fn this_process_is_seen_as_it_is() {
        let me = ProcDir::open(std::process::id()).unwrap();
        let look = me.look().unwrap();
        assert_eq!(look.executable, Some(std::env::current_exe().unwrap()));
        assert_eq!(me.look().unwrap().started, look.started);
        let (left, _right) = std::os::unix::net::UnixStream::pair().unwrap();
        let inode = rustix::fs::fstat(&left).unwrap().st_ino as u32;
        assert!(me.sockets().unwrap().contains(&inode));
    }

    #[test]
    fn a_program_started_by_another_name_of_its_file_goes_by_that_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("aplay");
        std::fs::copy("/bin/sleep", &file).unwrap();
        std::os::unix::fs::symlink("aplay", dir.path().join("arecord")).unwrap();
        let mut child = std::process::Command::new(dir.path().join("arecord"))
            .arg("60")
            .spawn()
            .unwrap();
        let look = ProcDir::open(child.id()).unwrap().look();
        child.kill().unwrap();
        child.wait().unwrap();
        let look = look.unwrap();
        assert_eq!(look.name, "arecord");
        assert_eq!(look.executable, Some(file));
    }

    #[test]
    fn a_name_that_is_no_name_of_the_file_is_not_shown() {
        let me = std::env::current_exe().unwrap();
        let own = me.file_name().unwrap().to_str().unwrap();
        for lie in ["zoom", "", ".", "..", "/bin/sh", "../../bin/sh"] {
            assert_eq!(name_of(&me, lie), own);
        }
    }

    #[test]
    fn a_pinned_process_that_ended_is_not_another() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pinned = ProcDir::open(child.id()).unwrap();
        assert!(pinned.look().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(pinned.look(), None);
        assert!(pinned.sockets().is_err());
    }

    #[test]
    fn a_file_mounted_over_another_does_not_get_its_name() {
        let unshare: &[&str] = if rustix::process::geteuid().is_root() {
            &["--mount"]
        } else {
            &["--user", "--map-root-user", "--mount"]
        };
        let dir = tempfile::tempdir().unwrap();
        let (victim, ready) = (dir.path().join("zoom"), dir.path().join("ready"));
        std::fs::write(&victim, "").unwrap();
        let script = format!(
            "mount --bind \"$(command -v sleep)\" {0} && : > {1} && exec {0} 60",
            victim.display(),
            ready.display()
        );
        let mut command = std::process::Command::new("unshare");
        let mut child = command
            .args(unshare)
            .args(["sh", "-c", &script])
            .spawn()
            .unwrap();
        let look = loop {
            if child.try_wait().unwrap().is_some() {
                println!("SKIPPED: this user may not make mount namespaces");
                return;
            }
            let look = ProcDir::open(child.id()).ok().and_then(|it| it.look());
            if let Some(look) = look.filter(|it| it.command == "zoom") {
                break look;
            }
            std::thread::yield_now();
        };
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ready.exists());
        assert_eq!(look.executable, None);
    }

    #[test]
    fn a_file_that_was_replaced_keeps_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app");
        std::fs::copy("/bin/sleep", &file).unwrap();
        let mut child = std::process::Command::new(&file).arg("60").spawn().unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::copy("/bin/cat", &file).unwrap();
        let look = ProcDir::open(child.id()).unwrap().look();
        child.kill().unwrap();
        child.wait().unwrap();
        let look = look.unwrap();
        assert_eq!((look.executable, look.name.as_str()), (Some(file), "app"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(bytes: Vec<u8>) {
            let _ = (parse_stat(&bytes), parse_own_pid(&bytes), parse_socket(&bytes));
        }

        #[test]
        fn no_damage_to_a_real_file_makes_a_parser_panic(
            at in 0usize..2000, byte: u8, cut in 0usize..2000,
        ) {
            for file in ["stat", "status"] {
                let mut bytes = std::fs::read(format!("/proc/self/{file}")).unwrap();
                bytes.truncate(cut);
                if let Some(hit) = bytes.get_mut(at) {
                    *hit = byte;
                }
                let _ = (parse_stat(&bytes), parse_own_pid(&bytes));
            }
        }
    }
}
