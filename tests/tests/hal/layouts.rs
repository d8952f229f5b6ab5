//! The plug-in's layouts beside those that a C compiler makes of declarations written without them.

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};
use std::process::Command;

use truemute_hal::abi;
use truemute_tests::hal_host;

/// Fills a map with `C name -> bytes`: a type's size, and `type.field` for where a field begins.
macro_rules! layouts {
    ($($rust:ident = $c:literal { $($field:ident = $c_field:literal),* $(,)? })*) => {{
        let mut ours = BTreeMap::new();
        $(
            ours.insert($c.to_owned(), size_of::<abi::$rust>());
            $(ours.insert(concat!($c, ".", $c_field).to_owned(), offset_of!(abi::$rust, $field));)*
        )*
        ours
    }};
}

#[test]
fn are_those_of_an_independent_host() {
    let ours = layouts! {
        UuidBytes = "CFUUIDBytes" {}
        Address = "AudioObjectPropertyAddress" { selector = "mSelector", scope = "mScope", element = "mElement" }
        SmpteTime = "SMPTETime" {}
        TimeStamp = "AudioTimeStamp" {
            sample_time = "mSampleTime", host_time = "mHostTime", rate_scalar = "mRateScalar",
            word_clock_time = "mWordClockTime", smpte_time = "mSMPTETime", flags = "mFlags", reserved = "mReserved",
        }
        CycleInfo = "AudioServerPlugInIOCycleInfo" {
            cycle = "mIOCycleCounter", nominal_frames = "mNominalIOBufferFrameSize", current_time = "mCurrentTime",
            input_time = "mInputTime", output_time = "mOutputTime", main_ticks_per_frame = "mMainHostTicksPerFrame",
            device_ticks_per_frame = "mDeviceHostTicksPerFrame",
        }
        ClientInfo = "AudioServerPlugInClientInfo" {
            client_id = "mClientID", process_id = "mProcessID", native_endian = "mIsNativeEndian", bundle_id = "mBundleID",
        }
        DriverInterface = "DriverInterface" {
            query_interface = "QueryInterface", add_ref = "AddRef", release = "Release", initialize = "Initialize",
            create_device = "CreateDevice", destroy_device = "DestroyDevice", add_device_client = "AddDeviceClient",
            remove_device_client = "RemoveDeviceClient",
            perform_device_configuration_change = "PerformDeviceConfigurationChange",
            abort_device_configuration_change = "AbortDeviceConfigurationChange", has_property = "HasProperty",
            is_property_settable = "IsPropertySettable", get_property_data_size = "GetPropertyDataSize",
            get_property_data = "GetPropertyData", set_property_data = "SetPropertyData", start_io = "StartIO",
            stop_io = "StopIO", get_zero_time_stamp = "GetZeroTimeStamp", will_do_io_operation = "WillDoIOOperation",
            begin_io_operation = "BeginIOOperation", do_io_operation = "DoIOOperation",
            end_io_operation = "EndIOOperation",
        }
    };
    let output = Command::new(hal_host::host()).arg("sizes").output();
    let said = String::from_utf8(output.expect("the host runs").stdout).expect("text");
    let theirs: BTreeMap<String, usize> = said
        .lines()
        .map(|line| {
            let (name, bytes) = line.split_once(' ').expect("a name and a number");
            (name.to_owned(), bytes.parse().expect("a number"))
        })
        .collect();
    let differing: Vec<_> = ours
        .iter()
        .filter(|(name, bytes)| theirs.get(*name) != Some(bytes))
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
}
