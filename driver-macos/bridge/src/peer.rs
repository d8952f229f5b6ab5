//! Who is at the other end of a socket, and who sits at the console. What follows from it is `server.rs` and `client.rs`.

use rustix::io;
use std::os::unix::net::UnixStream;

/// Says which user may connect now; nobody may if it is none, or if the system does not tell. Called on the bridge's thread,
/// each time somebody connects and twice a second while somebody is connected.
pub type AllowedUser = Box<dyn Fn() -> io::Result<Option<u32>> + Send>;

/// The user who owns the console. At the login window that is root, so root counts as nobody.
///
/// # Errors
/// The system does not tell whose `/dev/console` is.
#[cfg(target_vendor = "apple")]
pub fn console_user() -> io::Result<Option<u32>> {
    let uid = rustix::fs::stat("/dev/console")?.st_uid;
    Ok((uid != 0).then_some(uid))
}

/// The user as whom the process at the other end ran when it connected, as the kernel says.
pub(crate) fn user(socket: &UnixStream) -> io::Result<u32> {
    system::user(socket)
}

#[cfg(target_vendor = "apple")]
mod system {
    use rustix::io;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    pub(super) fn user(socket: &UnixStream) -> io::Result<u32> {
        let (mut uid, mut gid) = (u32::MAX, u32::MAX);
        // SAFETY: the descriptor is open, and it writes the two numbers.
        match unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut uid, &raw mut gid) } {
            0 => Ok(uid),
            _ => Err(io::Errno::from_io_error(&std::io::Error::last_os_error())
                .unwrap_or(io::Errno::NOTCONN)),
        }
    }
}

#[cfg(not(target_vendor = "apple"))]
mod system {
    use rustix::io;
    use std::os::unix::net::UnixStream;

    pub(super) fn user(socket: &UnixStream) -> io::Result<u32> {
        Ok(rustix::net::sockopt::socket_peercred(socket)?.uid.as_raw())
    }
}
