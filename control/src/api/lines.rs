//! Lines from a peer that may be slow, hostile or broken: bounded in length and in time.

use std::io::{self, Read as _};
use std::time::{Duration, Instant};

use crate::system::Stream;

/// Longest line, without its newline.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// A line that has begun must end within this time.
pub(super) const LINE_TIME: Duration = Duration::from_secs(5);

/// What comes next from the peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its newline.
    Whole(Vec<u8>),
    /// A line longer than [`MAX_LINE`]; the next call skips what is left of it.
    TooLong,
    /// A line began and did not end: in time, or at all. Nothing more is read.
    Half,
    /// The peer closed the connection between two lines, or the daemon did.
    End,
}

/// Reads lines from a stream.
pub(super) struct Lines<'a> {
    stream: &'a Stream,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are known to hold no newline.
    searched: usize,
    /// When the line that has begun must be over.
    deadline: Option<Instant>,
    skipping: bool,
}

impl<'a> Lines<'a> {
    /// Reads from `stream`, whose read timeout it sets.
    pub(super) fn new(stream: &'a Stream) -> Lines<'a> {
        Lines {
            stream,
            buffer: Vec::new(),
            searched: 0,
            deadline: None,
            skipping: false,
        }
    }

    /// Waits for the next line: between lines for as long as it takes, within a line for [`LINE_TIME`].
    pub(super) fn next(&mut self) -> Line {
        loop {
            if let Some(line) = self.take_line() {
                return line;
            }
            match self.fill() {
                Ok(0) if self.buffer.is_empty() && !self.skipping => return Line::End,
                Ok(0) => return Line::Half,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if self.deadline.is_some() => return Line::Half,
                Err(_) => return Line::End,
            }
        }
    }

    fn take_line(&mut self) -> Option<Line> {
        let newline = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        match newline {
            Some(at) => {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                self.searched = 0;
                self.deadline = None;
                if std::mem::take(&mut self.skipping) {
                    return self.take_line();
                }
                Some(if line.len() > MAX_LINE {
                    Line::TooLong
                } else {
                    Line::Whole(line)
                })
            }
            None if self.skipping => {
                self.buffer.clear();
                self.searched = 0;
                None
            }
            None if self.buffer.len() > MAX_LINE => {
                self.buffer.clear();
                self.searched = 0;
                self.skipping = true;
                Some(Line::TooLong)
            }
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let begun = self.skipping || !self.buffer.is_empty();
        let now = Instant::now();
        let timeout = if begun {
            let deadline = *self.deadline.get_or_insert(now + LINE_TIME);
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Some(left)
        } else {
            None
        };
        self.stream.set_read_timeout(timeout)?;
        let mut chunk = [0; 8192];
        let count = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::Shutdown;

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_come_whole_however_they_were_sent() {
        let (mut peer, ours) = Stream::pair().unwrap();
        let mut lines = Lines::new(&ours);
        peer.write_all(b"a\n\nb").unwrap();
        assert_eq!(lines.next(), whole("a"));
        assert_eq!(lines.next(), whole(""));
        peer.write_all(b"c\n").unwrap();
        assert_eq!(lines.next(), whole("bc"));
        drop(peer);
        assert_eq!(lines.next(), Line::End);
    }

    #[test]
    fn a_long_line_is_told_once_and_skipped() {
        let (mut peer, ours) = Stream::pair().unwrap();
        let writer = std::thread::spawn(move || {
            peer.write_all(&vec![b'x'; 10_000_000]).unwrap();
            peer.write_all(b"\nnext\n").unwrap();
            let just_too_long = [vec![b'y'; MAX_LINE + 1], b"\n".to_vec()].concat();
            peer.write_all(&just_too_long).unwrap();
            let just_right = [vec![b'z'; MAX_LINE], b"\n".to_vec()].concat();
            peer.write_all(&just_right).unwrap();
        });
        let mut lines = Lines::new(&ours);
        assert_eq!(lines.next(), Line::TooLong);
        assert_eq!(lines.next(), whole("next"));
        assert_eq!(lines.next(), Line::TooLong);
        assert_eq!(lines.next(), Line::Whole(vec![b'z'; MAX_LINE]));
        assert_eq!(lines.next(), Line::End);
        writer.join().unwrap();
    }

    #[test]
    fn a_half_line_is_told() {
        let (mut peer, ours) = Stream::pair().unwrap();
        peer.write_all(b"half").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(Lines::new(&ours).next(), Line::Half);
    }

    #[test]
    fn a_half_line_ends_in_time() {
        let (mut peer, ours) = Stream::pair().unwrap();
        peer.write_all(b"half").unwrap();
        let mut lines = Lines::new(&ours);
        lines.deadline = Some(Instant::now() + Duration::from_millis(20));
        assert_eq!(lines.next(), Line::Half);
    }
}
