//! What the control device's requests do: bytes in, bytes out. Pure: who asks is a [`Handle`], and the system's part of it is in
//! `kernel/control_device.rs`.

use crate::device::{Device, Handle, Refused};
use truemute_windows_interface::Request;
use truemute_windows_interface::record::{self, split_feed};

/// Answers one request. `buffer` is what the I/O manager made of both buffers (`METHOD_BUFFERED`): it holds the input's
/// `input_bytes`, and the answer of `output_bytes` is written into its beginning. Says how many bytes were written.
///
/// # Errors
/// A wrong code, length or field, or a caller that may not: then nothing was done, and nothing written.
pub fn answer(
    device: &mut Device,
    now_ns: u64,
    handle: Handle,
    code: u32,
    buffer: &mut [u8],
    input_bytes: usize,
    output_bytes: usize,
) -> Result<usize, Refused> {
    let request = Request::of_code(code).ok_or(Refused::Unknown)?;
    if !device.is_present() {
        return Err(Refused::Gone);
    }
    if output_bytes != request.output_bytes() {
        return Err(Refused::Malformed);
    }
    let input = buffer.get(..input_bytes).ok_or(Refused::Malformed)?;
    if request != Request::Feed && input.len() != request.input_bytes() {
        return Err(Refused::Malformed);
    }
    // An output that does not fit, which the I/O manager never makes, has to be found before anything is done.
    if buffer.len() < output_bytes {
        return Err(Refused::Malformed);
    }
    macro_rules! write {
        ($record:expr) => {{
            let record = $record;
            let output = buffer.get_mut(..output_bytes).ok_or(Refused::Malformed)?;
            if !record.encode(output) {
                return Err(Refused::Malformed);
            }
        }};
    }
    match request {
        Request::Version => write!(device.version()),
        Request::Attach => {
            let attach = record::Attach::decode(input).ok_or(Refused::Malformed)?;
            device.attach(handle, attach)?;
        }
        Request::Feed => {
            let (head, frames) = split_feed(input).ok_or(Refused::Malformed)?;
            device.feed(now_ns, handle, head, frames)?;
        }
        Request::RenewLease => write!(device.renew(now_ns, handle)?),
        Request::Mute => write!(device.mute(now_ns)),
        Request::Unmute => write!(device.unmute(now_ns, handle)?),
        Request::Clock => write!(device.anchor(now_ns)),
        Request::Snapshot => write!(device.snapshot(now_ns)),
    }
    Ok(output_bytes)
}
