//! Users and access lists: who runs this program, who owns a pipe, who could write a file. All `unsafe` about them is here.

use std::ffi::c_void;
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::io::{AsRawHandle as _, BorrowedHandle};
use std::path::Path;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_SUCCESS, GENERIC_ALL, GENERIC_WRITE, HANDLE, LocalFree,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW,
    GetNamedSecurityInfoW, GetSecurityInfo, SDDL_REVISION_1, SE_FILE_OBJECT, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACL, DACL_SECURITY_INFORMATION, GetAce, GetTokenInformation,
    INHERIT_ONLY_ACE, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES,
    TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_APPEND_DATA, FILE_DELETE_CHILD, FILE_WRITE_DATA, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// The system, the administrators, and Windows' own installer (TrustedInstaller): who may write for the administrator.
const ADMINISTRATORS: [&str; 3] = [
    "S-1-5-18",
    "S-1-5-32-544",
    "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
];

/// Memory that the system gave by LocalAlloc.
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the system gave it, and nobody else frees it.
        unsafe { LocalFree(self.0) };
    }
}

/// Who runs this program, as text (`S-1-5-21-...`).
pub(super) fn own_user() -> io::Result<String> {
    let mut token: HANDLE = null_mut();
    // SAFETY: the process handle stands for this process; `token` can be written.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // A TOKEN_USER and the longest SID: 16 + 68 bytes (winnt.h), with the alignment of a pointer.
    let mut user = [0_u64; 16];
    let mut bytes = 0;
    let room = u32::try_from(size_of_val(&user)).unwrap_or(0);
    // SAFETY: `user` has `room` bytes; the token is open until the next call.
    let got = unsafe {
        let got = GetTokenInformation(
            token,
            TokenUser,
            user.as_mut_ptr().cast(),
            room,
            &raw mut bytes,
        );
        CloseHandle(token);
        got
    };
    if got == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system wrote a TOKEN_USER, whose SID lies behind it in `user`.
    text(unsafe { (*user.as_ptr().cast::<TOKEN_USER>()).User.Sid })
}

/// A SID as text. It must be a valid one.
fn text(sid: PSID) -> io::Result<String> {
    let mut text = null_mut();
    // SAFETY: the callers have it from the system; `text` can be written.
    if unsafe { ConvertSidToStringSidW(sid, &raw mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let _free = Local(text.cast());
    // SAFETY: the system wrote a text that ends with a zero.
    let units = unsafe {
        let length = (0..).take_while(|at| *text.add(*at) != 0).count();
        std::slice::from_raw_parts(text, length)
    };
    Ok(String::from_utf16_lossy(units))
}

/// Who may open a pipe of ours besides the user who made it, to whom it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenTo {
    /// Administrators and the system may do everything, others nothing.
    Administrators,
    /// Administrators and who logged on at the console (S-1-2-1) may read. Writing would be more than to write: who may write to a pipe
    /// may make an instance of it, and be taken for the server.
    Console,
}

/// What a pipe of ours is made with.
pub(super) struct AccessList {
    descriptor: Local,
}

impl AccessList {
    /// For the user who runs this program.
    pub(super) fn new(to: OpenTo) -> io::Result<Self> {
        let user = own_user()?;
        let others = match to {
            OpenTo::Administrators => "(A;;GA;;;BA)(A;;GA;;;SY)",
            OpenTo::Console => "(A;;GR;;;BA)(A;;GR;;;SY)(A;;GR;;;S-1-2-1)",
        };
        let rules = format!("O:{user}D:P(A;;GA;;;{user}){others}");
        let rules: Vec<u16> = rules.encode_utf16().chain([0]).collect();
        let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
        // SAFETY: the text ends with a zero; `descriptor` can be written.
        let done = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                rules.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                null_mut(),
            )
        };
        match done {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(Self {
                descriptor: Local(descriptor),
            }),
        }
    }

    /// For calls that make something; valid as long as `self`. What is made is not inherited.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
            lpSecurityDescriptor: self.descriptor.0,
            bInheritHandle: 0,
        }
    }
}

// SAFETY: the descriptor is only read, and belongs to no thread.
unsafe impl Send for AccessList {}
// SAFETY: as above.
unsafe impl Sync for AccessList {}

/// Whether this user made the pipe: only administrators can give another owner to something.
pub(super) fn is_own(pipe: BorrowedHandle<'_>) -> io::Result<bool> {
    Ok(owner(pipe)? == own_user()?)
}

/// Whether this user, an administrator or a service of the system made the pipe.
pub(super) fn is_own_or_services(pipe: BorrowedHandle<'_>) -> io::Result<bool> {
    /// LocalService, as which our service runs.
    const LOCAL_SERVICE: &str = "S-1-5-19";
    let owner = owner(pipe)?;
    let services = ADMINISTRATORS.contains(&&*owner) || owner == LOCAL_SERVICE;
    Ok(services || owner == own_user()?)
}

fn owner(pipe: BorrowedHandle<'_>) -> io::Result<String> {
    let (mut owner, mut descriptor) = (null_mut(), null_mut());
    // SAFETY: the handle is open; what is written to can be; the owner lies within the descriptor.
    let status = unsafe {
        GetSecurityInfo(
            pipe.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor,
        )
    };
    if status != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(status.cast_signed()));
    }
    let _free = Local(descriptor);
    text(owner)
}

/// Whether the owner of what lies at `path`, and everybody who may write to it, is an administrator or the system.
pub(super) fn only_administrators_write(path: &Path) -> io::Result<bool> {
    let path: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    let (mut owner, mut list, mut descriptor) = (null_mut(), null_mut(), null_mut());
    // SAFETY: the path ends with a zero; what is written to can be; owner and list lie within the descriptor.
    let status = unsafe {
        GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
            &raw mut owner,
            null_mut(),
            &raw mut list,
            null_mut(),
            &raw mut descriptor,
        )
    };
    if status != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(status.cast_signed()));
    }
    let _free = Local(descriptor);
    let is_administrator = |sid: PSID| Ok::<_, io::Error>(ADMINISTRATORS.contains(&&*text(sid)?));
    // Without a list everybody may do everything (winnt.h: a null DACL).
    if !is_administrator(owner)? || list == null::<ACL>().cast_mut() {
        return Ok(false);
    }
    // SAFETY: the system wrote a valid list.
    for entry in 0..u32::from(unsafe { (*list).AceCount }) {
        let mut entry_at = null_mut();
        // SAFETY: the list has an entry of this number.
        if unsafe { GetAce(list, entry, &raw mut entry_at) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // Allowing entries of type 0 begin like this, all others only share the header. What is no plain allowance or denial is not
        // understood, and so not trusted.
        let entry = entry_at.cast::<ACCESS_ALLOWED_ACE>();
        // SAFETY: every entry has a header.
        let header = unsafe { (*entry).Header };
        const ALLOWED: u8 = 0;
        const DENIED: u8 = 1;
        if header.AceType == DENIED || u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0 {
            continue;
        }
        if header.AceType != ALLOWED {
            return Ok(false);
        }
        // SAFETY: its type says that it has a mask and a SID.
        let (mask, sid) = unsafe { ((*entry).Mask, (&raw mut (*entry).SidStart).cast()) };
        const WRITES: u32 = FILE_WRITE_DATA
            | FILE_APPEND_DATA
            | FILE_DELETE_CHILD
            | DELETE
            | WRITE_DAC
            | WRITE_OWNER
            | GENERIC_WRITE
            | GENERIC_ALL;
        if mask & WRITES != 0 && !is_administrator(sid)? {
            return Ok(false);
        }
    }
    Ok(true)
}
