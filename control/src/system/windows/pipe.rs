//! Named pipes that behave as local sockets do: connections with time limits that another thread can end. The crate
//! `interprocess` has pipes, but neither limits nor ends, without which one silent peer would hold a thread for ever.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_NO_DATA,
    ERROR_OPERATION_ABORTED, ERROR_PIPE_BUSY, ERROR_PIPE_CONNECTED, ERROR_PIPE_NOT_CONNECTED,
    GENERIC_READ, GENERIC_WRITE, HANDLE, INVALID_HANDLE_VALUE, WAIT_OBJECT_0,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, OPEN_EXISTING,
    PIPE_ACCESS_DUPLEX, ReadFile, SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT, WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, GetNamedPipeClientProcessId, GetNamedPipeServerProcessId,
    PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES,
    PIPE_WAIT, PeekNamedPipe, WaitNamedPipeW,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects,
};

use super::security::{self, AccessList, OpenTo};
use crate::api::SocketError;

/// Where all local pipes are.
pub(super) const PREFIX: &str = r"\\.\pipe\";

/// What one side can write before the other one reads, as a Unix socket holds.
const BUFFER: u32 = 208 * 1024;

/// How long a client waits for the server to make its next instance, in milliseconds.
const BUSY_MS: u32 = 2000;

/// A number of milliseconds that stands for no limit.
const FOREVER: u32 = INFINITE;

/// One connection. Clones made by [`Stream::try_clone`] are the same connection, with the same limits.
#[derive(Debug)]
pub struct Stream(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    pipe: OwnedHandle,
    /// Whether we made the pipe.
    serves: bool,
    read_ms: AtomicU32,
    write_ms: AtomicU32,
    /// Set when reading is over, or writing.
    no_more_reads: OwnedHandle,
    no_more_writes: OwnedHandle,
}

/// How waiting for an operation ended.
enum Done {
    /// So many bytes.
    Bytes(usize),
    /// Somebody called [`Stream::shutdown`].
    Ended,
    /// The limit is over.
    TooLate,
}

impl Stream {
    /// Connects to the pipe at `path`.
    ///
    /// # Errors
    /// `NotFound`: there is none. `PermissionDenied`: it is closed to this user. `InvalidInput`: no pipe can be there.
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        Self::open(path, GENERIC_READ | GENERIC_WRITE)
    }

    /// The same, only to read.
    ///
    /// # Errors
    /// As [`Stream::connect`]. `PermissionDenied` too if neither this user nor a service of the system made the pipe.
    pub(super) fn connect_to_service(path: &Path) -> io::Result<Self> {
        let stream = Self::open(path, GENERIC_READ)?;
        match security::is_own_or_services(stream.0.pipe.as_handle())? {
            true => Ok(stream),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn open(path: &Path, access: u32) -> io::Result<Self> {
        if !path.to_string_lossy().starts_with(PREFIX) {
            let why = format!("a pipe's name begins with {PREFIX}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let name = wide(path);
        loop {
            // SAFETY: the name ends with a zero. A server may learn who we are, and not act in our name.
            let pipe = unsafe {
                CreateFileW(
                    name.as_ptr(),
                    access,
                    0,
                    null(),
                    OPEN_EXISTING,
                    FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION,
                    null_mut(),
                )
            };
            if pipe != INVALID_HANDLE_VALUE {
                // SAFETY: it was opened just now, for us.
                return Self::new(unsafe { OwnedHandle::from_raw_handle(pipe) }, false);
            }
            let error = io::Error::last_os_error();
            // SAFETY: the name ends with a zero.
            let busy = is(&error, ERROR_PIPE_BUSY);
            if !busy || unsafe { WaitNamedPipeW(name.as_ptr(), BUSY_MS) } == 0 {
                return Err(error);
            }
        }
    }

    fn new(pipe: OwnedHandle, serves: bool) -> io::Result<Self> {
        Ok(Self(Arc::new(Connection {
            pipe,
            serves,
            read_ms: AtomicU32::new(FOREVER),
            write_ms: AtomicU32::new(FOREVER),
            no_more_reads: event()?,
            no_more_writes: event()?,
        })))
    }

    /// The same connection.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.clone()))
    }

    /// How long a read may take; it then fails with `WouldBlock`.
    pub(crate) fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.0.read_ms.store(millis(limit), Ordering::Relaxed);
        Ok(())
    }

    /// How long a write may take; it then fails with `WouldBlock`.
    pub(crate) fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.0.write_ms.store(millis(limit), Ordering::Relaxed);
        Ok(())
    }

    /// Whether reads and writes fail rather than wait.
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        let limit = nonblocking.then_some(Duration::ZERO);
        self.set_read_timeout(limit)?;
        self.set_write_timeout(limit)
    }

    /// Ends what waits, now and later: reads as at the end, writes as to nobody. The peer learns of it when the last clone is gone.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Write {
            set(&self.0.no_more_reads)?;
        }
        if how != Shutdown::Read {
            set(&self.0.no_more_writes)?;
        }
        Ok(())
    }

    /// See [`super::peer`].
    pub(super) fn is_trusted(&self) -> io::Result<bool> {
        if self.0.serves {
            return Ok(true);
        }
        security::is_own(self.0.pipe.as_handle())
    }

    /// The process at the other end.
    pub(super) fn peer_process(&self) -> io::Result<u32> {
        let (pipe, mut process) = (self.0.raw(), 0);
        // SAFETY: the handle is a pipe's; `process` can be written.
        let done = unsafe {
            match self.0.serves {
                true => GetNamedPipeClientProcessId(pipe, &raw mut process),
                false => GetNamedPipeServerProcessId(pipe, &raw mut process),
            }
        };
        match done {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(process),
        }
    }
}

/// Whether the peer has closed its connection.
pub(crate) fn has_gone(stream: &Stream) -> bool {
    // SAFETY: the handle is a pipe's; nothing is asked for but whether it works.
    let works = unsafe {
        PeekNamedPipe(
            stream.0.raw(),
            null_mut(),
            0,
            null_mut(),
            null_mut(),
            null_mut(),
        )
    };
    works == 0
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let connection = &*self.0;
        let room = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let limit = connection.read_ms.load(Ordering::Relaxed);
        let done = connection.wait_for(&connection.no_more_reads, limit, |overlapped| {
            // SAFETY: `buffer` has `room` bytes and outlives the operation, which `wait_for` sees the end of.
            unsafe {
                ReadFile(
                    connection.raw(),
                    buffer.as_mut_ptr(),
                    room,
                    null_mut(),
                    overlapped,
                )
            }
        });
        match done {
            Ok(Done::Bytes(bytes)) => Ok(bytes),
            Ok(Done::Ended) => Ok(0),
            Ok(Done::TooLate) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) if is(&error, ERROR_BROKEN_PIPE) => Ok(0),
            Err(error) if is(&error, ERROR_PIPE_NOT_CONNECTED) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let connection = &*self.0;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let limit = connection.write_ms.load(Ordering::Relaxed);
        let done = connection.wait_for(&connection.no_more_writes, limit, |overlapped| {
            // SAFETY: `bytes` has `length` bytes and outlives the operation, which `wait_for` sees the end of.
            unsafe {
                WriteFile(
                    connection.raw(),
                    bytes.as_ptr(),
                    length,
                    null_mut(),
                    overlapped,
                )
            }
        });
        match done {
            Ok(Done::Bytes(bytes)) => Ok(bytes),
            Ok(Done::Ended) => Err(io::ErrorKind::BrokenPipe.into()),
            Ok(Done::TooLate) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) if is(&error, ERROR_NO_DATA) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection {
    fn raw(&self) -> HANDLE {
        self.pipe.as_raw_handle()
    }

    fn wait_for(
        &self,
        ended: &OwnedHandle,
        limit_ms: u32,
        start: impl FnOnce(*mut OVERLAPPED) -> i32,
    ) -> io::Result<Done> {
        wait_for(&self.pipe, ended, limit_ms, start)
    }
}

/// Starts an operation on `pipe`, and waits until it is over, `ended` is set, or the limit is. In the last two cases it is called
/// off, unless it was over after all: so nothing that was read is lost. When this returns, the system no longer uses what `start`
/// lent it.
fn wait_for(
    pipe: &OwnedHandle,
    ended: &OwnedHandle,
    limit_ms: u32,
    start: impl FnOnce(*mut OVERLAPPED) -> i32,
) -> io::Result<Done> {
    let over = event()?;
    // SAFETY: OVERLAPPED is a plain structure for which all zeros are a value.
    let mut overlapped: OVERLAPPED = unsafe { std::mem::zeroed() };
    overlapped.hEvent = over.as_raw_handle();
    let pipe = pipe.as_raw_handle();
    if start(&raw mut overlapped) == 0 {
        let error = io::Error::last_os_error();
        if !is(&error, ERROR_IO_PENDING) {
            return Err(error);
        }
    }
    // What is over already counts, also after the end.
    let events = [over.as_raw_handle(), ended.as_raw_handle()];
    // SAFETY: two open events.
    let woken = unsafe { WaitForMultipleObjects(2, events.as_ptr(), 0, limit_ms) };
    if woken != WAIT_OBJECT_0 {
        // SAFETY: the operation is this one, whose structure lives. It may be over by now, which is no error.
        unsafe { CancelIoEx(pipe, &raw const overlapped) };
    }
    let mut bytes = 0;
    // SAFETY: as above; waits until the operation is over or was called off.
    if unsafe { GetOverlappedResult(pipe, &raw const overlapped, &raw mut bytes, 1) } != 0 {
        return Ok(Done::Bytes(bytes as usize));
    }
    let error = io::Error::last_os_error();
    match woken == WAIT_OBJECT_0 + 1 {
        _ if !is(&error, ERROR_OPERATION_ABORTED) => Err(error),
        true => Ok(Done::Ended),
        false => Ok(Done::TooLate),
    }
}

/// A pipe that belongs to this daemon alone, and lives as long as it.
#[derive(Debug)]
pub(crate) struct Bound {
    name: Vec<u16>,
    to: OpenTo,
    /// The instance that waits for the next connection. There always is one: a name without one could be taken by others.
    next: Mutex<OwnedHandle>,
    closed: OwnedHandle,
}

impl Bound {
    /// Makes the pipe at `path`, which only this user, administrators and the system may open.
    pub(crate) fn new(path: &Path) -> Result<Self, SocketError> {
        Self::open_to(path, OpenTo::Administrators)
    }

    /// Makes the pipe at `path`, which these may open.
    pub(super) fn open_to(path: &Path, to: OpenTo) -> Result<Self, SocketError> {
        if !path.to_string_lossy().starts_with(PREFIX) {
            return Err(SocketError::InTheWay(path.to_owned()));
        }
        let name = wide(path);
        let io_error = |source| SocketError::Io {
            path: path.to_owned(),
            source,
        };
        let next = instance(&name, to, true).map_err(|error| match error {
            // FILE_FLAG_FIRST_PIPE_INSTANCE: somebody has that name (winbase.h, CreateNamedPipe).
            taken if is(&taken, ERROR_ACCESS_DENIED) => SocketError::Taken(path.to_owned()),
            error => io_error(error),
        })?;
        Ok(Self {
            name,
            to,
            next: Mutex::new(next),
            closed: event().map_err(io_error)?,
        })
    }

    /// Waits for the next connection.
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let connected = wait_for(&next, &self.closed, FOREVER, |overlapped| {
            // SAFETY: the handle is a pipe's, and `wait_for` sees the operation's end.
            unsafe { ConnectNamedPipe(next.as_raw_handle(), overlapped) }
        });
        match connected {
            Ok(Done::Bytes(_)) => {}
            Ok(Done::Ended | Done::TooLate) => return Err(io::ErrorKind::ConnectionAborted.into()),
            // It came before it was waited for.
            Err(error) if is(&error, ERROR_PIPE_CONNECTED) => {}
            // It came and went: then it is served to its end, like any other.
            Err(error) if is(&error, ERROR_NO_DATA) => {}
            Err(error) => return Err(error),
        }
        let connected = std::mem::replace(&mut *next, instance(&self.name, self.to, false)?);
        Stream::new(connected, true)
    }

    /// Ends every [`Bound::accept`], with an error.
    pub(crate) fn close(&self) {
        if let Err(error) = set(&self.closed) {
            tracing::warn!("the pipe is not closed: {error}");
        }
    }
}

fn instance(name: &[u16], to: OpenTo, first: bool) -> io::Result<OwnedHandle> {
    let list = AccessList::new(to)?;
    let attributes = list.attributes();
    let first = if first {
        FILE_FLAG_FIRST_PIPE_INSTANCE
    } else {
        0
    };
    // SAFETY: the name ends with a zero; the attributes live as long as the call.
    let pipe = unsafe {
        CreateNamedPipeW(
            name.as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | first,
            PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES,
            BUFFER,
            BUFFER,
            0,
            &raw const attributes,
        )
    };
    if pipe == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was made just now, for us.
    Ok(unsafe { OwnedHandle::from_raw_handle(pipe) })
}

/// An event that stays set.
fn event() -> io::Result<OwnedHandle> {
    // SAFETY: no name and no attributes.
    let event = unsafe { CreateEventW(null(), 1, 0, null()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was made just now, for us.
    Ok(unsafe { OwnedHandle::from_raw_handle(event) })
}

fn set(event: &OwnedHandle) -> io::Result<()> {
    // SAFETY: an open event.
    match unsafe { SetEvent(event.as_raw_handle()) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn wide(path: &Path) -> Vec<u16> {
    path.as_os_str().encode_wide().chain([0]).collect()
}

fn millis(limit: Option<Duration>) -> u32 {
    let most = FOREVER - 1;
    limit.map_or(FOREVER, |limit| {
        u32::try_from(limit.as_millis()).unwrap_or(most).min(most)
    })
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}
