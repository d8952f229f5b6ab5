//! That our declarations are Apple's, as far as objc2-core-audio has them, which is generated from Apple's own headers.
//! Everything is asserted when this compiles for an Apple target, which needs no Mac: `cargo check --tests --target
//! aarch64-apple-darwin`. Elsewhere there is nothing here.
#![cfg(target_vendor = "apple")]

use objc2_core_audio as ca;
use objc2_core_audio_types as types;
use std::mem::{align_of, offset_of, size_of};
use truemute_hal::abi::codes::{self, Status};
use truemute_hal::abi::{Address, ClientInfo, CycleInfo, TimeStamp};
use truemute_hal::table::{Answer, ROWS, Row, Shape, record_size};

macro_rules! same_layout {
    ($($ours:ty = $theirs:ty { $($our_field:ident = $their_field:ident),* })*) => {
        $(
            const _: () = assert!(size_of::<$ours>() == size_of::<$theirs>());
            const _: () = assert!(align_of::<$ours>() == align_of::<$theirs>());
            $(const _: () = assert!(offset_of!($ours, $our_field) == offset_of!($theirs, $their_field));)*
        )*
    };
}

same_layout! {
    Address = ca::AudioObjectPropertyAddress { selector = mSelector, scope = mScope, element = mElement }
    ClientInfo = ca::AudioServerPlugInClientInfo {
        client_id = mClientID, process_id = mProcessID, native_endian = mIsNativeEndian, bundle_id = mBundleID
    }
    TimeStamp = types::AudioTimeStamp {
        sample_time = mSampleTime, host_time = mHostTime, rate_scalar = mRateScalar, word_clock_time = mWordClockTime,
        smpte_time = mSMPTETime, flags = mFlags, reserved = mReserved
    }
}

/// The cycle has no counterpart there; its time stamps have.
const _: () =
    assert!(size_of::<CycleInfo>() == 8 + 8 + 3 * size_of::<types::AudioTimeStamp>() + 16);

const _: () = {
    assert!(codes::SCOPE_GLOBAL.0 == ca::kAudioObjectPropertyScopeGlobal);
    assert!(codes::SCOPE_INPUT.0 == ca::kAudioObjectPropertyScopeInput);
    assert!(codes::SCOPE_OUTPUT.0 == ca::kAudioObjectPropertyScopeOutput);
    assert!(codes::SCOPE_PLAY_THROUGH.0 == ca::kAudioObjectPropertyScopePlayThrough);
    assert!(codes::READ_INPUT.0 == ca::AudioServerPlugInIOOperation::ReadInput.0);
    assert!(Status::OK.0 == ca::kAudioHardwareNoError);
    assert!(Status::BAD_OBJECT.0 == ca::kAudioHardwareBadObjectError);
    assert!(Status::UNKNOWN_PROPERTY.0 == ca::kAudioHardwareUnknownPropertyError);
    assert!(Status::BAD_SIZE.0 == ca::kAudioHardwareBadPropertySizeError);
    assert!(Status::ILLEGAL.0 == ca::kAudioHardwareIllegalOperationError);
    assert!(Status::UNSUPPORTED.0 == ca::kAudioHardwareUnsupportedOperationError);
    assert!(Status::UNSPECIFIED.0 == ca::kAudioHardwareUnspecifiedError);
    assert!(Status::UNSUPPORTED_FORMAT.0 == ca::kAudioDeviceUnsupportedFormatError);
};

/// Every row that has this name has this selector, and there is one.
const fn selector_is(name: &str, selector: u32) -> bool {
    let (mut at, mut found) = (0, false);
    while at < ROWS.len() {
        if same(ROWS[at].name, name) {
            if ROWS[at].selector.0 != selector {
                return false;
            }
            found = true;
        }
        at += 1;
    }
    found
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

macro_rules! selectors {
    ($($name:ident)*) => {
        $(const _: () = assert!(selector_is(stringify!($name), ca::$name));)*

        /// How many different names the table has but for our own ones.
        const NAMES: usize = [$(ca::$name),*].len();
    };
}

selectors! {
    kAudioObjectPropertyBaseClass
    kAudioObjectPropertyClass
    kAudioObjectPropertyOwner
    kAudioObjectPropertyOwnedObjects
    kAudioObjectPropertyManufacturer
    kAudioObjectPropertyCustomPropertyInfoList
    kAudioPlugInPropertyDeviceList
    kAudioPlugInPropertyTranslateUIDToDevice
    kAudioPlugInPropertyBoxList
    kAudioPlugInPropertyTranslateUIDToBox
    kAudioPlugInPropertyResourceBundle
    kAudioObjectPropertyName
    kAudioObjectPropertyControlList
    kAudioDevicePropertyDeviceUID
    kAudioDevicePropertyModelUID
    kAudioDevicePropertyTransportType
    kAudioDevicePropertyRelatedDevices
    kAudioDevicePropertyClockDomain
    kAudioDevicePropertyDeviceIsAlive
    kAudioDevicePropertyDeviceIsRunning
    kAudioDevicePropertyDeviceCanBeDefaultDevice
    kAudioDevicePropertyDeviceCanBeDefaultSystemDevice
    kAudioDevicePropertyLatency
    kAudioDevicePropertyStreams
    kAudioDevicePropertySafetyOffset
    kAudioDevicePropertyNominalSampleRate
    kAudioDevicePropertyAvailableNominalSampleRates
    kAudioDevicePropertyIsHidden
    kAudioDevicePropertyPreferredChannelsForStereo
    kAudioDevicePropertyPreferredChannelLayout
    kAudioDevicePropertyZeroTimeStampPeriod
    kAudioDevicePropertyClockAlgorithm
    kAudioDevicePropertyClockIsStable
    kAudioStreamPropertyIsActive
    kAudioStreamPropertyDirection
    kAudioStreamPropertyTerminalType
    kAudioStreamPropertyStartingChannel
    kAudioStreamPropertyLatency
    kAudioStreamPropertyVirtualFormat
    kAudioStreamPropertyAvailableVirtualFormats
    kAudioStreamPropertyPhysicalFormat
    kAudioStreamPropertyAvailablePhysicalFormats
}

/// The custom properties.
const OURS: [&str; 2] = ["diag", "sock"];

/// No row is left out above.
const _: () = {
    let (mut at, mut names) = (0, 0);
    while at < ROWS.len() {
        let (mut before, mut first) = (0, true);
        while before < at {
            if same(ROWS[before].name, ROWS[at].name) {
                first = false;
            }
            before += 1;
        }
        if first {
            names += 1;
        }
        at += 1;
    }
    assert!(
        names == NAMES + OURS.len(),
        "a name in the table is not compared"
    );
};

/// The number at a place of an answer.
const fn number(name: &str, at: usize) -> u32 {
    match row(name).answer {
        Answer::Numbers(numbers) => numbers.get(at),
        _ => panic!("no number"),
    }
}

const fn row(name: &str) -> &'static Row {
    let mut at = 0;
    while at < ROWS.len() {
        if same(ROWS[at].name, name) {
            return &ROWS[at];
        }
        at += 1;
    }
    panic!("no such row")
}

const fn record(name: &str) -> usize {
    match row(name).shape {
        Shape::Record(fields) | Shape::List(fields) => record_size(fields) as usize,
        Shape::Object => size_of::<usize>(),
    }
}

const _: () = {
    assert!(number("kAudioDevicePropertyTransportType", 0) == ca::kAudioDeviceTransportTypeVirtual);
    assert!(
        number("kAudioStreamPropertyTerminalType", 0) == ca::kAudioStreamTerminalTypeMicrophone
    );
    assert!(
        number("kAudioDevicePropertyClockAlgorithm", 0)
            == ca::AudioDeviceClockAlgorithmSelector::AlgorithmRaw.0
    );
    assert!(number("kAudioStreamPropertyVirtualFormat", 1) == types::kAudioFormatLinearPCM);
    assert!(
        number("kAudioStreamPropertyVirtualFormat", 2)
            == types::kAudioFormatFlagIsFloat | types::kAudioFormatFlagIsPacked
    );
    assert!(
        record("kAudioStreamPropertyVirtualFormat")
            == size_of::<types::AudioStreamBasicDescription>()
    );
    assert!(
        record("kAudioStreamPropertyAvailableVirtualFormats")
            == size_of::<ca::AudioStreamRangedDescription>()
    );
    assert!(
        record("kAudioDevicePropertyAvailableNominalSampleRates")
            == size_of::<types::AudioValueRange>()
    );
    assert!(
        record("kAudioObjectPropertyCustomPropertyInfoList")
            == size_of::<ca::AudioServerPlugInCustomPropertyInfo>()
    );
    assert!(
        record("kAudioDevicePropertyPreferredChannelLayout")
            == offset_of!(types::AudioChannelLayout, mChannelDescriptions)
                + 2 * size_of::<types::AudioChannelDescription>()
    );
};
