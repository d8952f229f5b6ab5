//! The entry points: what the host calls, in the C calling convention. Each checks its pointers, hands values on to safe
//! code, and writes the answer. No panic leaves them. What each has to do: `AudioServerPlugIn.h`, in the same order.

use crate::abi::codes::{Code, READ_INPUT, Status};
use crate::abi::{Address, ClientInfo, CycleInfo, DriverInterface, DriverRef, ObjectId, UuidBytes};
use crate::cf;
use crate::device::Device;
use crate::diag::Request;
use crate::input;
use crate::properties::{self, Data};
use crate::table::{Object, Row};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use truemute_bridge::peer::AllowedUser;
#[cfg(target_vendor = "apple")]
use truemute_bridge::{peer, place};
use truemute_core::shared_ring::FRAME_BYTES;

/// Lets tables of pointers stand in statics.
struct Shared<T>(T);

// SAFETY: what is in the two statics below never changes, and the pointers lead to statics and functions.
unsafe impl<T> Sync for Shared<T> {}

static INTERFACE: Shared<DriverInterface> = Shared(DriverInterface {
    reserved: std::ptr::null_mut(),
    query_interface,
    add_ref,
    release,
    initialize,
    create_device,
    destroy_device,
    add_device_client,
    remove_device_client,
    perform_device_configuration_change,
    abort_device_configuration_change,
    has_property,
    is_property_settable,
    get_property_data_size,
    get_property_data,
    set_property_data,
    start_io,
    stop_io,
    get_zero_time_stamp,
    will_do_io_operation,
    begin_io_operation,
    do_io_operation,
    end_io_operation,
});

/// The one driver of this process: its address is the driver's.
static DRIVER: Shared<&DriverInterface> = Shared(&INTERFACE.0);
/// Only told; the driver lives as long as its process.
static REFERENCES: AtomicU32 = AtomicU32::new(0);
static DEVICE: OnceLock<Arc<Device>> = OnceLock::new();

fn driver() -> DriverRef {
    (&raw const DRIVER.0).cast_mut().cast()
}

/// What a call on a driver works on; or what to say if it is no driver of ours.
fn device_of(driver_ref: DriverRef) -> Result<&'static Arc<Device>, Status> {
    match DEVICE.get() {
        Some(device) if driver_ref == driver() => Ok(device),
        _ => Err(Status::BAD_OBJECT),
    }
}

/// The same, for calls about the one device.
fn device_at(driver_ref: DriverRef, object: ObjectId) -> Result<&'static Arc<Device>, Status> {
    let device = device_of(driver_ref)?;
    (object == Object::Device as ObjectId)
        .then_some(device)
        .ok_or(Status::BAD_OBJECT)
}

/// Runs an entry point, and keeps its panic from the host.
///
/// A panic runs the standard library's hook first, which formats, locks stderr and allocates. On a real-time thread that takes
/// a bug: what a read calls checks every index, every pointer and every sum, and `input.rs` and `seats.rs` compile only
/// without indexing, unchecked arithmetic, `unwrap`, `expect` and `panic!`. An empty hook would gain nothing, since unwinding
/// itself allocates and locks, and would lose the message.
fn run(act: impl FnOnce() -> Result<(), Status>) -> Status {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(())) => Status::OK,
        Ok(Err(status)) => status,
        Err(_) => Status::UNSPECIFIED,
    }
}

/// The same for a read: where it fails or panics, the buffer is zeros, for the host may deliver it all the same.
fn run_read(buffer: &mut [u8], act: impl FnOnce(&mut [u8]) -> Result<(), Status>) -> Status {
    let status = run(|| act(buffer));
    if status != Status::OK {
        buffer.fill(0);
    }
    status
}

/// Writes through a pointer of the host's; an error if it is null.
///
/// # Safety
/// `to` is null or may be written.
unsafe fn write<T>(to: *mut T, value: T) -> Result<(), Status> {
    let to = NonNull::new(to).ok_or(Status::ILLEGAL)?;
    // SAFETY: as promised. Unaligned, because nobody promised that it is aligned.
    unsafe { to.as_ptr().write_unaligned(value) };
    Ok(())
}

/// Reads through a pointer of the host's; an error if it is null.
///
/// # Safety
/// `from` is null or may be read.
unsafe fn read<T: Copy>(from: *const T) -> Result<T, Status> {
    let from = NonNull::new(from.cast_mut()).ok_or(Status::ILLEGAL)?;
    // SAFETY: as promised.
    Ok(unsafe { from.as_ptr().read_unaligned() })
}

/// The factory, which `Info.plist` names: CFPlugIn calls it with the type of plug-in that it wants. Gives the driver with
/// one reference, or null for any type but an audio server plug-in.
///
/// # Safety
/// `requested_type` is null or a live CFUUID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn TrueMute_Create(
    _allocator: *const c_void,
    requested_type: *const c_void,
) -> *mut c_void {
    let create = || {
        // SAFETY: as promised.
        if unsafe { cf::uuid(requested_type) } != Some(UuidBytes::PLUG_IN_TYPE) {
            return std::ptr::null_mut();
        }
        DEVICE.get_or_init(Arc::default);
        REFERENCES.fetch_add(1, Ordering::Relaxed);
        driver().cast()
    };
    catch_unwind(create).unwrap_or(std::ptr::null_mut())
}

unsafe extern "C" fn query_interface(
    this: *mut c_void,
    wanted: UuidBytes,
    out: *mut *mut c_void,
) -> Status {
    run(|| {
        device_of(this.cast())?;
        if ![UuidBytes::UNKNOWN, UuidBytes::DRIVER_INTERFACE].contains(&wanted) {
            // SAFETY: the host's pointer, null or for writing; null is what COM wants there.
            let _ = unsafe { write(out, std::ptr::null_mut()) };
            return Err(Status::NO_INTERFACE);
        }
        // SAFETY: the host's pointer, null or for writing.
        unsafe { write(out, driver().cast()) }?;
        REFERENCES.fetch_add(1, Ordering::Relaxed);
        Ok(())
    })
}

unsafe extern "C" fn add_ref(this: *mut c_void) -> u32 {
    match device_of(this.cast()) {
        Ok(_) => REFERENCES.fetch_add(1, Ordering::Relaxed).saturating_add(1),
        Err(_) => 0,
    }
}

unsafe extern "C" fn release(this: *mut c_void) -> u32 {
    if device_of(this.cast()).is_err() {
        return 0;
    }
    let less = |count: u32| Some(count.saturating_sub(1));
    let before = REFERENCES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    before.unwrap_or_default().saturating_sub(1)
}

/// The bridge's troubles are no reason to refuse: then the device is there, silent, and its diagnosis says why.
unsafe extern "C" fn initialize(this: DriverRef, _host: *const c_void) -> Status {
    run(|| {
        let device = device_of(this)?;
        let (folder, allowed) = peers();
        device.open_bridge(&folder, allowed);
        Ok(())
    })
}

/// Where the agent looks for the bridge, and whose agent may come in.
#[cfg(target_vendor = "apple")]
fn peers() -> (PathBuf, AllowedUser) {
    (place::FOLDER.into(), Box::new(peer::console_user))
}

/// Elsewhere there are only tests, which run the host: their temporary folder, and their own user.
#[cfg(not(target_vendor = "apple"))]
fn peers() -> (PathBuf, AllowedUser) {
    let user = rustix::process::geteuid().as_raw();
    (std::env::temp_dir(), Box::new(move || Ok(Some(user))))
}

unsafe extern "C" fn create_device(
    _this: DriverRef,
    _description: *const c_void,
    _client: *const ClientInfo,
    _out: *mut ObjectId,
) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "C" fn destroy_device(_this: DriverRef, _object: ObjectId) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "C" fn add_device_client(
    this: DriverRef,
    object: ObjectId,
    client: *const ClientInfo,
) -> Status {
    run(|| {
        let device = device_at(this, object)?;
        // SAFETY: the host's pointer, null or a client; the string in it lives for the call.
        let (client, bundle) = unsafe {
            let client = read(client)?;
            (client, cf::text(client.bundle_id))
        };
        device.add_client(client.client_id, client.process_id, bundle);
        Ok(())
    })
}

unsafe extern "C" fn remove_device_client(
    this: DriverRef,
    object: ObjectId,
    client: *const ClientInfo,
) -> Status {
    run(|| {
        let device = device_at(this, object)?;
        // SAFETY: the host's pointer, null or a client.
        let client = unsafe { read(client) }?;
        device.remove_client(client.client_id);
        Ok(())
    })
}

/// We never ask for a change, since there is but one format; so there is none to perform.
unsafe extern "C" fn perform_device_configuration_change(
    this: DriverRef,
    object: ObjectId,
    _action: u64,
    _info: *mut c_void,
) -> Status {
    run(|| device_at(this, object).and(Err(Status::ILLEGAL)))
}

unsafe extern "C" fn abort_device_configuration_change(
    this: DriverRef,
    object: ObjectId,
    _action: u64,
    _info: *mut c_void,
) -> Status {
    run(|| device_at(this, object).map(|_| ()))
}

/// A property call: finds the row, acts, and notes the request if it gets no answer.
///
/// # Safety
/// `address` is null or may be read.
unsafe fn on_property(
    (call, this, object, pid, size): (&'static str, DriverRef, ObjectId, i32, u32),
    address: *const Address,
    act: impl FnOnce(&'static Row, &'static Device) -> Result<(), Status>,
) -> Status {
    run(|| {
        let device = device_of(this)?;
        // SAFETY: as promised.
        let address = unsafe { read(address) }?;
        let done = properties::find(object, &address).and_then(|row| act(row, device));
        if let Err(status) = done {
            device.requests().note(Request {
                call,
                object,
                address,
                pid,
                size,
                status,
            });
        }
        done
    })
}

unsafe extern "C" fn has_property(
    this: DriverRef,
    object: ObjectId,
    pid: i32,
    address: *const Address,
) -> u8 {
    let call = ("HasProperty", this, object, pid, 0);
    // SAFETY: the host's pointer, null or an address.
    let status = unsafe { on_property(call, address, |_, _| Ok(())) };
    (status == Status::OK).into()
}

unsafe extern "C" fn is_property_settable(
    this: DriverRef,
    object: ObjectId,
    pid: i32,
    address: *const Address,
    out: *mut u8,
) -> Status {
    let call = ("IsPropertySettable", this, object, pid, 0);
    // SAFETY: the host's pointers, null or valid.
    unsafe { on_property(call, address, |row, _| write(out, row.settable.into())) }
}

unsafe extern "C" fn get_property_data_size(
    this: DriverRef,
    object: ObjectId,
    pid: i32,
    address: *const Address,
    _qualifier_size: u32,
    _qualifier: *const c_void,
    out_size: *mut u32,
) -> Status {
    let call = ("GetPropertyDataSize", this, object, pid, 0);
    // SAFETY: the host's pointers, null or valid.
    unsafe { on_property(call, address, |row, _| write(out_size, row.size)) }
}

unsafe extern "C" fn get_property_data(
    this: DriverRef,
    object: ObjectId,
    pid: i32,
    address: *const Address,
    qualifier_size: u32,
    qualifier: *const c_void,
    room: u32,
    out_size: *mut u32,
    out: *mut c_void,
) -> Status {
    let uid = || {
        if qualifier_size as usize != size_of::<*const c_void>() || qualifier.is_null() {
            return Err(Status::BAD_SIZE);
        }
        // SAFETY: the host says that a CFString's address stands there.
        unsafe { Ok(cf::text(read(qualifier.cast::<*const c_void>())?)) }
    };
    let get = |row: &'static Row, device: &'static Device| {
        if out_size.is_null() || (out.is_null() && room > 0) {
            return Err(Status::ILLEGAL);
        }
        let data = properties::get(row, room, uid, device)?;
        // SAFETY: `out` has `room` bytes, and the answer is no longer. An address gets written as bytes, for nobody promised
        // that it is aligned.
        unsafe {
            match data {
                Data::Bytes(bytes) => {
                    let bytes = bytes.as_slice();
                    if !bytes.is_empty() {
                        out.cast::<u8>()
                            .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                    }
                    write(out_size, bytes.len() as u32)
                }
                Data::Object(object) => {
                    write(out.cast(), object.into_raw())?;
                    write(out_size, row.size)
                }
            }
        }
    };
    let call = ("GetPropertyData", this, object, pid, room);
    // SAFETY: the host's pointer, null or an address.
    unsafe { on_property(call, address, get) }
}

unsafe extern "C" fn set_property_data(
    this: DriverRef,
    object: ObjectId,
    pid: i32,
    address: *const Address,
    _qualifier_size: u32,
    _qualifier: *const c_void,
    size: u32,
    data: *const c_void,
) -> Status {
    let set = |row: &'static Row, _: &'static Device| {
        let data = NonNull::new(data.cast_mut()).ok_or(Status::ILLEGAL)?;
        // SAFETY: the host says that so many bytes stand there.
        let bytes = unsafe { std::slice::from_raw_parts(data.as_ptr().cast(), size as usize) };
        properties::set(row, bytes)
    };
    let call = ("SetPropertyData", this, object, pid, size);
    // SAFETY: the host's pointer, null or an address.
    unsafe { on_property(call, address, set) }
}

unsafe extern "C" fn start_io(this: DriverRef, object: ObjectId, client: u32) -> Status {
    run(|| device_at(this, object).map(|device| device.start_io(client)))
}

unsafe extern "C" fn stop_io(this: DriverRef, object: ObjectId, client: u32) -> Status {
    run(|| device_at(this, object).map(|device| device.stop_io(client)))
}

unsafe extern "C" fn get_zero_time_stamp(
    this: DriverRef,
    object: ObjectId,
    _client: u32,
    out_sample_time: *mut f64,
    out_host_time: *mut u64,
    out_seed: *mut u64,
) -> Status {
    run(|| {
        let device = device_at(this, object)?;
        let stamp = device.zero_time_stamp().ok_or(Status::UNSPECIFIED)?;
        // SAFETY: the host's pointers, null or for writing.
        unsafe {
            write(out_sample_time, stamp.sample as f64)?;
            write(out_host_time, stamp.ticks)?;
            write(out_seed, stamp.seed)
        }
    })
}

unsafe extern "C" fn will_do_io_operation(
    this: DriverRef,
    object: ObjectId,
    _client: u32,
    operation: Code,
    out_will_do: *mut u8,
    out_in_place: *mut u8,
) -> Status {
    run(|| {
        device_at(this, object)?;
        // SAFETY: the host's pointers, null or for writing.
        unsafe {
            write(out_will_do, (operation == READ_INPUT).into())?;
            write(out_in_place, 1)
        }
    })
}

unsafe extern "C" fn begin_io_operation(
    this: DriverRef,
    object: ObjectId,
    _client: u32,
    _operation: Code,
    _frames: u32,
    _cycle: *const CycleInfo,
) -> Status {
    run(|| device_at(this, object).map(|_| ()))
}

unsafe extern "C" fn do_io_operation(
    this: DriverRef,
    object: ObjectId,
    stream: ObjectId,
    client: u32,
    operation: Code,
    frames: u32,
    cycle: *const CycleInfo,
    main_buffer: *mut c_void,
    _secondary_buffer: *mut c_void,
) -> Status {
    let device = || match device_at(this, object) {
        Ok(_) if stream != Object::Stream as ObjectId => Err(Status::BAD_OBJECT),
        device => device,
    };
    if operation != READ_INPUT {
        return run(|| device().and(Err(Status::UNSUPPORTED)));
    }
    let Some(buffer) = NonNull::new(main_buffer) else {
        return run(|| device().and(Err(Status::ILLEGAL)));
    };
    let bytes = (frames as usize).saturating_mul(FRAME_BYTES);
    // SAFETY: the header says that the main buffer has so many frames, and that it is ours for the call. There is one format,
    // so they have this size whatever stream the host names.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.as_ptr().cast(), bytes) };
    run_read(buffer, |buffer| {
        let device = device()?;
        // SAFETY: the host's pointer, null or a cycle.
        let cycle = unsafe { read(cycle) };
        let sample_time = cycle.ok().map(|cycle| cycle.input_time.sample_time);
        input::read(device, client, frames, sample_time, buffer);
        Ok(())
    })
}

unsafe extern "C" fn end_io_operation(
    this: DriverRef,
    object: ObjectId,
    _client: u32,
    _operation: Code,
    _frames: u32,
    _cycle: *const CycleInfo,
) -> Status {
    run(|| device_at(this, object).map(|_| ()))
}

#[cfg(all(test, not(target_vendor = "apple")))]
mod tests;
