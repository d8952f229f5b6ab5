//! The kernel's list of Unix sockets (NETLINK_SOCK_DIAG, sock_diag(7)): which socket is connected to which. Only those of
//! our network namespace are listed, and an accepted socket belongs to the namespace of who connected: of a client in a
//! namespace of its own neither end is seen (tried). Whose they are is not in the list; /proc tells that (see `process`).

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::TCP_LISTEN;
use netlink_packet_sock_diag::unix::nlas::UnixDiagName;
use netlink_packet_sock_diag::unix::{ShowFlags, StateFlags, UnixRequest, UnixResponse};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The kernel sends at most 32 KiB at once to a reader that offers as much (netlink_dump in net/netlink/af_netlink.c).
const RECEIVE_BYTES: usize = 32 * 1024;
/// The kernel answers as it is asked; this only keeps a fault from stopping the caller for good.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// One Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnixSocket {
    /// Its inode, which names it in /proc/PID/fd.
    pub(super) inode: u32,
    /// Whether it waits for connections.
    pub(super) listening: bool,
    /// Inode of the socket at the other end.
    pub(super) peer: Option<u32>,
    /// The address it is bound to; an abstract one begins with a zero byte. An accepted socket has the name of the
    /// listening one.
    pub(super) name: Option<Vec<u8>>,
}

/// All listening and connected Unix sockets of our network namespace.
pub(super) fn all_unix_sockets() -> std::io::Result<Vec<UnixSocket>> {
    let kernel = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&kernel, Timeout::Recv, Some(LONGEST_WAIT))?;
    send(&kernel, &request(), SendFlags::empty())?;
    let mut sockets = Vec::new();
    let mut buffer = vec![0; RECEIVE_BYTES];
    loop {
        let (received, _) = recv(&kernel, &mut buffer[..], RecvFlags::empty())?;
        match parse_answer(&buffer[..received], &mut sockets)? {
            Progress::More => {}
            Progress::Done => return Ok(sockets),
        }
    }
}

fn request() -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let body = SockDiagMessage::UnixRequest(UnixRequest {
        state_flags: StateFlags::ESTABLISHED | StateFlags::LISTEN,
        inode: 0,
        show_flags: ShowFlags::PEER | ShowFlags::NAME,
        cookie: [0xff; 8],
    });
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(body));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Done,
}

/// Takes one datagram of the kernel's answer: several messages, each with its own length.
pub(super) fn parse_answer(
    mut bytes: &[u8],
    sockets: &mut Vec<UnixSocket>,
) -> std::io::Result<Progress> {
    /// Length of a netlink header, and what messages are aligned to (netlink(7)).
    const HEADER: usize = 16;
    const ALIGN: usize = 4;
    while let Some((length, _)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_ne_bytes(*length) as usize;
        if length < HEADER || length > bytes.len() {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        // One socket that the parser refuses (a name without its end) must not hide the others.
        match NetlinkMessage::<SockDiagMessage>::deserialize(&bytes[..length]).map(|it| it.payload)
        {
            Ok(NetlinkPayload::InnerMessage(SockDiagMessage::UnixResponse(socket))) => {
                sockets.push(unix_socket(&socket))
            }
            Ok(NetlinkPayload::Done(_)) => return Ok(Progress::Done),
            // A negative errno (netlink(7)); `to_io` would panic at the one number that cannot be negated.
            Ok(NetlinkPayload::Error(error)) => {
                let errno = error.raw_code().saturating_neg();
                return Err(std::io::Error::from_raw_os_error(errno));
            }
            Ok(_) | Err(_) => {}
        }
        bytes = bytes
            .get(length.next_multiple_of(ALIGN)..)
            .unwrap_or_default();
    }
    Ok(Progress::More)
}

fn unix_socket(socket: &UnixResponse) -> UnixSocket {
    UnixSocket {
        inode: socket.header.inode,
        listening: socket.header.state == TCP_LISTEN,
        peer: socket.peer(),
        name: socket.name().map(|name| match name {
            UnixDiagName::Pathname(path) => path.as_bytes().to_vec(),
            UnixDiagName::Abstract(name) => [&[0], name.as_slice()].concat(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    fn inode(socket: impl std::os::fd::AsFd) -> u32 {
        rustix::fs::fstat(socket).unwrap().st_ino as u32
    }

    #[test]
    fn the_kernel_names_both_ends_of_a_connection() {
        let name = format!("truemute-sock-diag-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let client = UnixStream::connect_addr(&address).unwrap();
        let (served, _) = listener.accept().unwrap();
        let sockets = all_unix_sockets().unwrap();
        let find = |wanted| sockets.iter().find(|it| it.inode == wanted).unwrap();
        let bound = Some([b"\0", name.as_bytes()].concat());
        assert_eq!(find(inode(&listener)).name, bound);
        assert!(find(inode(&listener)).listening);
        assert_eq!(find(inode(&served)).name, bound);
        assert_eq!(find(inode(&served)).peer, Some(inode(&client)));
        assert_eq!(find(inode(&client)).peer, Some(inode(&served)));
    }

    #[test]
    fn a_refusal_is_an_error() {
        // NLMSG_ERROR with -EPERM, and the header that it answers.
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&36u32.to_ne_bytes());
        bytes.extend_from_slice(&2u16.to_ne_bytes());
        bytes.resize(16, 0);
        bytes.extend_from_slice(&(-1i32).to_ne_bytes());
        bytes.resize(36, 0);
        let error = parse_answer(&bytes, &mut Vec::new()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(1));
        bytes[16..20].copy_from_slice(&i32::MIN.to_ne_bytes());
        parse_answer(&bytes, &mut Vec::new()).unwrap_err();
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = parse_answer(&bytes, &mut Vec::new());
        }

        // Headers that look right, so that the garbage reaches the attributes.
        #[test]
        fn no_garbage_in_a_message_makes_the_parser_panic(
            body in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u16..32, family in 0u8..12,
            first in 0u16..300, attribute in 0u16..10,
        ) {
            let mut bytes = Vec::new();
            bytes.extend_from_slice(&(16 + 20 + body.len() as u32).to_ne_bytes());
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.resize(16, 0);
            bytes.push(family);
            bytes.resize(32, 1);
            bytes.extend_from_slice(&first.to_ne_bytes());
            bytes.extend_from_slice(&attribute.to_ne_bytes());
            bytes.extend_from_slice(&body);
            let _ = parse_answer(&bytes, &mut Vec::new());
        }
    }
}
