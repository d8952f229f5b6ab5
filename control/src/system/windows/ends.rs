//! How the user or the system tells a process to end: console events. And the message loop that a hotkey needs.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use windows_sys::Win32::System::Threading::GetCurrentThreadId;
use windows_sys::Win32::UI::WindowsAndMessaging::{
    DispatchMessageW, GetMessageW, MSG, PM_NOREMOVE, PeekMessageW, PostThreadMessageW,
    TranslateMessage, WM_QUIT,
};

/// Waits for Ctrl-C, Ctrl-Break and the end of the console or the session, which no longer end the process while this is there.
pub(crate) struct Ends(Receiver<()>);

impl Ends {
    /// From now on; once in a process.
    ///
    /// # Errors
    /// The system gives no handler.
    pub(crate) fn new() -> io::Result<Self> {
        let (sender, receiver) = channel();
        ctrlc::set_handler(move || {
            let _ = sender.send(());
        })
        .map_err(io::Error::other)?;
        Ok(Self(receiver))
    }

    /// Waits for the next one, and names it for the log; nothing if there can be no more.
    pub(crate) fn wait(&mut self) -> Option<String> {
        self.0.recv().ok()?;
        Some("a console event".to_owned())
    }
}

/// Files in the user's own folders get the access list of these, which leaves others out.
pub(crate) fn keep_files_private() {}

/// Hotkeys come as messages to the thread that asked for them (RegisterHotKey, winuser.h): it takes them until `wait` has returned,
/// on a thread of its own.
pub(crate) fn wait_beside_keys<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    // SAFETY: MSG is a plain structure for which all zeros are a value.
    let mut message: MSG = unsafe { std::mem::zeroed() };
    // SAFETY: `message` can be written. This makes the thread's message queue, so that the message that ends the loop is not lost.
    unsafe { PeekMessageW(&raw mut message, std::ptr::null_mut(), 0, 0, PM_NOREMOVE) };
    // SAFETY: it takes nothing and cannot fail.
    let this = unsafe { GetCurrentThreadId() };
    let waiting = thread::spawn(move || {
        let _loop = StopsLoop(this);
        wait()
    });
    // SAFETY: `message` can be written, and was filled in when the others get it. 0 is the end, -1 an error.
    unsafe {
        while GetMessageW(&raw mut message, std::ptr::null_mut(), 0, 0) > 0 {
            TranslateMessage(&raw const message);
            DispatchMessageW(&raw const message);
        }
    }
    match waiting.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Ends the message loop of a thread when it is dropped, also by a panic.
struct StopsLoop(u32);

impl Drop for StopsLoop {
    fn drop(&mut self) {
        // SAFETY: a message without pointers.
        unsafe { PostThreadMessageW(self.0, WM_QUIT, 0, 0) };
    }
}
