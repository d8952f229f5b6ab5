//! The list on the disk of the real mics that are muted by us. A thread of its own writes it, for a disk can take seconds, and
//! the graph's thread is watched.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::event::EventfdFlags;

/// The longest list that is read: mics have names of at most a few hundred bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Puts a list where it stays.
type Store = Arc<dyn Fn(&BTreeSet<String>) -> io::Result<()> + Send + Sync>;

/// The graph thread's end of the list. Lists have numbers from 1; 0 is what was there at the start. Dropping it waits until
/// the last one is written, or could not be.
pub(super) struct List {
    store: Store,
    /// Readable when the writer has answered.
    answered: Arc<OwnedFd>,
    asked: u64,
    answer: Answer,
    writer: Option<Writer>,
}

/// How far the writer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The latest list that is on the disk.
    pub(super) written: u64,
    /// The latest list that could not be written, if it is later.
    pub(super) failed: Option<u64>,
}

struct Writer {
    lists: Sender<(u64, BTreeSet<String>)>,
    answers: Receiver<(u64, io::Result<()>)>,
    thread: JoinHandle<()>,
}

impl List {
    /// The list in `file`.
    pub(super) fn at(file: PathBuf) -> io::Result<Self> {
        Self::with(Arc::new(move |names| {
            write(&file, names).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", file.display()))
            })
        }))
    }

    pub(super) fn with(store: Store) -> io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Self {
            store,
            answered: Arc::new(rustix::event::eventfd(0, flags)?),
            asked: 0,
            answer: Answer::default(),
            writer: None,
        })
    }

    /// Readable when [`List::answer`] has news.
    pub(super) fn answered(&self) -> BorrowedFd<'_> {
        self.answered.as_fd()
    }

    /// Has these written, and gives the list's number. Does not wait.
    pub(super) fn write(&mut self, names: BTreeSet<String>) -> u64 {
        self.asked += 1;
        let number = self.asked;
        if self.writer.is_none() {
            match Writer::start(self.store.clone(), self.answered.clone()) {
                Ok(writer) => self.writer = Some(writer),
                Err(error) => self.take(number, Err(error)),
            }
        }
        if let Some(writer) = &self.writer {
            let _ = writer.lists.send((number, names));
        }
        number
    }

    /// How far the writer is now.
    pub(super) fn answer(&mut self) -> Answer {
        // Empty if there is no news.
        let _ = rustix::io::read(&*self.answered, &mut [0; 8]);
        let answers = self.writer.iter().flat_map(|it| it.answers.try_iter());
        for (number, result) in answers.collect::<Vec<_>>() {
            self.take(number, result);
        }
        self.answer
    }

    /// Waits until the latest list is written, or could not be. Not for a thread that is watched.
    pub(super) fn settle(&mut self) {
        while self.asked > self.answer.written.max(self.answer.failed.unwrap_or(0)) {
            let next = self.writer.as_ref().and_then(|it| it.answers.recv().ok());
            let Some((number, result)) = next else { return };
            self.take(number, result);
        }
    }

    fn take(&mut self, number: u64, result: io::Result<()>) {
        match result {
            Ok(()) => {
                self.answer = Answer {
                    written: number,
                    failed: None,
                }
            }
            Err(error) => {
                if self.answer.failed.replace(number).is_none() {
                    tracing::error!(
                        "The list of muted microphones cannot be written ({error}). Real microphones are not muted, for after a crash nobody would know which to unmute."
                    );
                }
            }
        }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        if let Some(Writer { lists, thread, .. }) = self.writer.take() {
            drop(lists);
            let _ = thread.join();
        }
    }
}

impl Writer {
    fn start(store: Store, answered: Arc<OwnedFd>) -> io::Result<Self> {
        let (lists, asked) = channel::<(u64, BTreeSet<String>)>();
        let (answer, answers) = channel();
        let thread = std::thread::Builder::new()
            .name("muted-mics".into())
            .spawn(move || {
                while let Ok(next) = asked.recv() {
                    // Only the newest counts.
                    let (number, names) = asked.try_iter().last().unwrap_or(next);
                    let _ = answer.send((number, store(&names)));
                    // Fails only when the counter is full, and then a turn is due already.
                    let _ = rustix::io::write(&*answered, &1u64.to_ne_bytes());
                }
            })?;
        Ok(Self {
            lists,
            answers,
            thread,
        })
    }
}

/// What an earlier run has left in `file`.
pub(super) fn read(file: &Path) -> BTreeSet<String> {
    let bytes = match fs::metadata(file) {
        Ok(found) if found.is_file() && found.len() <= MAX_BYTES => fs::read(file),
        Ok(_) => Err(io::Error::other("it is no small file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeSet::new(),
        Err(error) => Err(error),
    };
    let names =
        bytes.and_then(|bytes| serde_json::from_slice::<Vec<String>>(&bytes).map_err(Into::into));
    names.map_or_else(
        |error| {
            tracing::warn!(
                "{} cannot be read: {error}. If a microphone stays muted, unmute it in the desktop's sound settings.",
                file.display()
            );
            BTreeSet::new()
        },
        BTreeSet::from_iter,
    )
}

/// Whole or not at all.
fn write(file: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    if names.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut next = tempfile::NamedTempFile::new_in(folder)?;
    next.write_all(&serde_json::to_vec(names)?)?;
    next.as_file().sync_all()?;
    next.persist(file).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_nonsense_is_no_list() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("list");
        for text in ["", "{}", "[1]", "[\"mic\"", "\u{0}"] {
            fs::write(&file, text).expect("written");
            assert!(read(&file).is_empty(), "{text:?}");
        }
        assert!(read(folder.path()).is_empty());
    }
}
