//! The entry points through the table of functions, as the host calls them. The tests share the one driver of their process,
//! so each uses client ids of its own.

use super::*;
use crate::abi::TimeStamp;
use crate::abi::codes::{SCOPE_GLOBAL, SCOPE_INPUT};
use crate::cf::double::{self, Object as Double};

fn create(kind: UuidBytes) -> *mut c_void {
    let uuid = double::give(Double::Uuid(kind));
    // SAFETY: it is live, and given back after.
    unsafe {
        let driver = TrueMute_Create(std::ptr::null(), uuid);
        double::take(uuid);
        driver
    }
}

fn created() -> (DriverRef, &'static DriverInterface) {
    let driver: DriverRef = create(UuidBytes::PLUG_IN_TYPE).cast();
    assert!(!driver.is_null());
    // SAFETY: what the factory gives is a driver.
    (driver, unsafe { &**driver })
}

fn address(selector: &[u8; 4], scope: Code) -> Address {
    Address {
        selector: Code::of(selector),
        scope,
        element: 0,
    }
}

fn client(client_id: u32) -> ClientInfo {
    ClientInfo {
        client_id,
        process_id: 42,
        native_endian: 1,
        bundle_id: std::ptr::null(),
    }
}

#[test]
fn the_factory_makes_audio_server_plug_ins_only() {
    assert!(create(UuidBytes::DRIVER_INTERFACE).is_null());
    // SAFETY: null is allowed.
    assert!(unsafe { TrueMute_Create(std::ptr::null(), std::ptr::null()) }.is_null());
    let (driver, interface) = created();
    let mut out = std::ptr::null_mut();
    // SAFETY: the driver's own functions, with valid pointers.
    unsafe {
        let mut query = |uuid| (interface.query_interface)(driver.cast(), uuid, &raw mut out);
        assert_eq!(query(UuidBytes::UNKNOWN), Status::OK);
        assert_eq!(query(UuidBytes::DRIVER_INTERFACE), Status::OK);
        assert_eq!(query(UuidBytes::PLUG_IN_TYPE), Status::NO_INTERFACE);
        assert!(out.is_null());
    }
}

#[test]
fn whatever_is_null_is_refused() {
    let (driver, interface) = created();
    let alive = address(b"livn", SCOPE_GLOBAL);
    let mut word = 0_u32;
    let mut size = 0_u32;
    let null: *mut c_void = std::ptr::null_mut();
    // SAFETY: null or valid pointers.
    unsafe {
        let get = interface.get_property_data;
        let bad_driver = get(
            null.cast(),
            2,
            0,
            &raw const alive,
            0,
            null,
            4,
            &raw mut size,
            (&raw mut word).cast(),
        );
        assert_eq!(bad_driver, Status::BAD_OBJECT);
        let no_address = get(
            driver,
            2,
            0,
            null.cast(),
            0,
            null,
            4,
            &raw mut size,
            (&raw mut word).cast(),
        );
        assert_eq!(no_address, Status::ILLEGAL);
        let no_data = get(
            driver,
            2,
            0,
            &raw const alive,
            0,
            null,
            4,
            &raw mut size,
            null,
        );
        assert_eq!(no_data, Status::ILLEGAL);
        let no_size = get(
            driver,
            2,
            0,
            &raw const alive,
            0,
            null,
            4,
            null.cast(),
            (&raw mut word).cast(),
        );
        assert_eq!(no_size, Status::ILLEGAL);
        assert_eq!(
            (interface.add_device_client)(driver, 2, null.cast()),
            Status::ILLEGAL
        );
        let mut host_time = 0;
        let mut seed = 0;
        let stamp = (interface.get_zero_time_stamp)(
            driver,
            2,
            1,
            null.cast(),
            &raw mut host_time,
            &raw mut seed,
        );
        assert_eq!(stamp, Status::ILLEGAL);
    }
}

#[test]
fn a_property_comes_through_its_pointers() {
    let (driver, interface) = created();
    let name = address(b"lnam", SCOPE_GLOBAL);
    let mut object: *const c_void = std::ptr::null();
    let mut size = 0;
    // SAFETY: valid pointers; the reference that comes out is given back.
    unsafe {
        let status = (interface.get_property_data)(
            driver,
            2,
            0,
            &raw const name,
            0,
            std::ptr::null(),
            8,
            &raw mut size,
            (&raw mut object).cast(),
        );
        assert_eq!((status, size), (Status::OK, 8));
        assert_eq!(cf::text(object).as_deref(), Some("TrueMute Microphone"));
        double::take(object);
        let default = address(b"dflt", SCOPE_INPUT);
        assert_eq!(
            (interface.has_property)(driver, 2, 0, &raw const default),
            1
        );
        assert_eq!(
            (interface.has_property)(driver, 3, 0, &raw const default),
            0
        );
    }
}

#[test]
fn what_was_not_answered_stands_in_the_diagnosis() {
    let (driver, interface) = created();
    let unknown = address(b"zzz1", SCOPE_GLOBAL);
    let diag = address(b"diag", SCOPE_GLOBAL);
    let mut object: *const c_void = std::ptr::null();
    let mut size = 0;
    // SAFETY: valid pointers; the reference that comes out is given back.
    let list = unsafe {
        assert_eq!(
            (interface.has_property)(driver, 2, 77, &raw const unknown),
            0
        );
        let status = (interface.get_property_data)(
            driver,
            2,
            0,
            &raw const diag,
            0,
            std::ptr::null(),
            8,
            &raw mut size,
            (&raw mut object).cast(),
        );
        assert_eq!(status, Status::OK);
        double::take(object)
    };
    let unanswered = list.entry("unanswered");
    let Some(Double::Array(requests)) = unanswered.as_deref() else {
        panic!("{list:?}");
    };
    let requests = requests.lock().expect("nobody panicked");
    let ours = requests
        .iter()
        .find(|it| text(it, "selector") == "'zzz1'")
        .expect("it was noted");
    assert_eq!(
        (text(ours, "call").as_str(), text(ours, "status").as_str()),
        ("HasProperty", "'who?'")
    );
    assert_eq!((number(ours, "pid"), number(ours, "times")), (77, 1));
}

fn number(dictionary: &Double, key: &str) -> i64 {
    match dictionary.entry(key).as_deref() {
        Some(Double::Number(number)) => *number,
        other => panic!("{key}: {other:?}"),
    }
}

fn text(dictionary: &Double, key: &str) -> String {
    match dictionary.entry(key).as_deref() {
        Some(Double::String(text)) => text.clone(),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn a_read_of_a_muted_device_is_zeros_and_is_counted() {
    let (driver, interface) = created();
    let info = client(900);
    let cycle = CycleInfo {
        input_time: TimeStamp {
            sample_time: 4096.0,
            ..TimeStamp::default()
        },
        ..CycleInfo::default()
    };
    let mut buffer = [f32::NAN; 1024];
    // SAFETY: valid pointers; the buffer has 512 frames.
    unsafe {
        assert_eq!(
            (interface.add_device_client)(driver, 2, &raw const info),
            Status::OK
        );
        assert_eq!((interface.start_io)(driver, 2, 900), Status::OK);
        let mut read = |stream, operation, cycle| {
            (interface.do_io_operation)(
                driver,
                2,
                stream,
                900,
                operation,
                512,
                cycle,
                buffer.as_mut_ptr().cast(),
                std::ptr::null_mut(),
            )
        };
        assert_eq!(read(2, READ_INPUT, &raw const cycle), Status::BAD_OBJECT);
        assert_eq!(
            read(3, Code::of(b"rite"), &raw const cycle),
            Status::UNSUPPORTED
        );
        assert_eq!(read(3, READ_INPUT, &raw const cycle), Status::OK);
        assert_eq!(read(3, READ_INPUT, std::ptr::null()), Status::OK);
        assert_eq!((interface.stop_io)(driver, 2, 900), Status::OK);
    }
    assert!(buffer.iter().all(|sample| sample.to_bits() == 0));
    let everybody = DEVICE
        .get()
        .expect("it is created")
        .clients()
        .everybody(None);
    let counted = everybody
        .clients
        .iter()
        .find(|it| it.client.id == 900)
        .expect("it came");
    let counts = counted.counts.as_ref().expect("it has a seat");
    assert_eq!(
        (counts.muted.pulls, counts.muted.frames, counts.live.pulls),
        (2, 1024, 0)
    );
    assert_eq!((counted.running, counted.client.pid), (Some(false), 42));
}

#[test]
fn a_panic_stays_inside() {
    let status = run(|| std::panic::resume_unwind(Box::new(())));
    assert_eq!(status, Status::UNSPECIFIED);
}

#[test]
fn a_read_that_fails_or_panics_leaves_zeros() {
    let mut buffer = [0xff_u8; 64];
    let status = run_read(&mut buffer, |_| Err(Status::BAD_OBJECT));
    assert_eq!((status, buffer), (Status::BAD_OBJECT, [0; 64]));
    let status = run_read(&mut buffer, |buffer| {
        buffer.fill(0xff);
        std::panic::resume_unwind(Box::new(()))
    });
    assert_eq!((status, buffer), (Status::UNSPECIFIED, [0; 64]));
    let status = run_read(&mut buffer, |buffer| {
        buffer.fill(0xff);
        Ok(())
    });
    assert_eq!((status, buffer), (Status::OK, [0xff; 64]));
}
