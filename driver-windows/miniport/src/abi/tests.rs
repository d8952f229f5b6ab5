//! Identifiers, numbers and layouts against windows-sys, whose are generated from Microsoft's headers. Not in it: PortCls' own structures
//! and interfaces, and the gaps between the parameters of IO_STACK_LOCATION, which its generator does not know. Those stand by mingw-w64's
//! headers, and by the host in C that drives the driver with declarations of its own.

use super::guid::{self, Guid};
use super::ks::{self, Attribute, AudioRange, DataFormat, HardwareLatency};
use super::nt::{self, DeviceObject, DriverObject, FileObject, Irp, StackLocation};
use super::{com, status};
use core::mem::{offset_of, size_of};
use windows_sys::Wdk::Foundation as wdk;
use windows_sys::Wdk::Storage::FileSystem::DO_DEVICE_INITIALIZING;
use windows_sys::Wdk::System::SystemServices as services;
use windows_sys::Win32::Foundation as win;
use windows_sys::Win32::Media::KernelStreaming as media;

#[test]
fn identifiers_are_microsofts() {
    let pairs = [
        (guid::PROPSET_PIN, media::KSPROPSETID_Pin),
        (guid::PROPSET_JACK, media::KSPROPSETID_Jack),
        (guid::CATEGORY_AUDIO, media::KSCATEGORY_AUDIO),
        (guid::NODE_ADC, media::KSNODETYPE_ADC),
        (guid::NODE_MICROPHONE, media::KSNODETYPE_MICROPHONE),
        (
            guid::NAME_RECORDING_CONTROL,
            media::KSAUDFNAME_RECORDING_CONTROL,
        ),
        (guid::TYPE_AUDIO, media::KSDATAFORMAT_TYPE_AUDIO),
        (guid::SUBTYPE_PCM, media::KSDATAFORMAT_SUBTYPE_PCM),
        (guid::SUBTYPE_ANALOG, media::KSDATAFORMAT_SUBTYPE_ANALOG),
        (guid::SPECIFIER_NONE, media::KSDATAFORMAT_SPECIFIER_NONE),
        (
            guid::SPECIFIER_WAVEFORMATEX,
            media::KSDATAFORMAT_SPECIFIER_WAVEFORMATEX,
        ),
        (
            guid::ATTRIBUTE_SIGNAL_PROCESSING_MODE,
            media::KSATTRIBUTEID_AUDIOSIGNALPROCESSING_MODE,
        ),
        (guid::MODE_RAW, media::AUDIO_SIGNALPROCESSINGMODE_RAW),
        (
            guid::MODE_DEFAULT,
            media::AUDIO_SIGNALPROCESSINGMODE_DEFAULT,
        ),
    ];
    for (ours, theirs) in pairs {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&theirs.data1.to_le_bytes());
        bytes[4..6].copy_from_slice(&theirs.data2.to_le_bytes());
        bytes[6..8].copy_from_slice(&theirs.data3.to_le_bytes());
        bytes[8..].copy_from_slice(&theirs.data4);
        assert_eq!(ours.bytes(), bytes, "{ours:?}");
        // SAFETY: an identifier is as many bytes, without gaps.
        let memory: [u8; 16] = unsafe { core::mem::transmute::<Guid, [u8; 16]>(ours) };
        assert_eq!(memory, bytes, "{ours:?}");
    }
}

#[test]
fn numbers_are_microsofts() {
    let pairs = [
        (ks::TYPE_GET, media::KSPROPERTY_TYPE_GET),
        (ks::TYPE_SET, media::KSPROPERTY_TYPE_SET),
        (ks::TYPE_BASIC_SUPPORT, media::KSPROPERTY_TYPE_BASICSUPPORT),
        (ks::FLOW_IN, media::KSPIN_DATAFLOW_IN as u32),
        (ks::FLOW_OUT, media::KSPIN_DATAFLOW_OUT as u32),
        (
            ks::COMMUNICATION_NONE,
            media::KSPIN_COMMUNICATION_NONE as u32,
        ),
        (
            ks::COMMUNICATION_SINK,
            media::KSPIN_COMMUNICATION_SINK as u32,
        ),
        (u32::from(nt::MJ_CREATE), services::IRP_MJ_CREATE),
        (u32::from(nt::MJ_CLOSE), services::IRP_MJ_CLOSE),
        (u32::from(nt::MJ_CLEANUP), services::IRP_MJ_CLEANUP),
        (
            u32::from(nt::MJ_DEVICE_CONTROL),
            services::IRP_MJ_DEVICE_CONTROL,
        ),
        (u32::from(nt::MJ_PNP), services::IRP_MJ_PNP),
        (
            u32::from(nt::MN_REMOVE_DEVICE),
            services::IRP_MN_REMOVE_DEVICE,
        ),
        (u32::from(nt::MN_STOP_DEVICE), services::IRP_MN_STOP_DEVICE),
        (
            u32::from(nt::MN_SURPRISE_REMOVAL),
            services::IRP_MN_SURPRISE_REMOVAL,
        ),
        (nt::DO_DEVICE_INITIALIZING, DO_DEVICE_INITIALIZING),
        (
            nt::FILE_DEVICE_SECURE_OPEN,
            services::FILE_DEVICE_SECURE_OPEN,
        ),
        (com::CACHED, services::MmCached as u32),
        (
            com::POWER_D0,
            windows_sys::Win32::System::Power::PowerDeviceD0 as u32,
        ),
        (crate::capture::State::Run as u32, media::KSSTATE_RUN as u32),
        (
            crate::capture::State::Pause as u32,
            media::KSSTATE_PAUSE as u32,
        ),
        (
            crate::capture::State::Acquire as u32,
            media::KSSTATE_ACQUIRE as u32,
        ),
        (
            crate::capture::State::Stop as u32,
            media::KSSTATE_STOP as u32,
        ),
    ];
    for (index, (ours, theirs)) in pairs.into_iter().enumerate() {
        assert_eq!(ours, theirs, "pair {index}");
    }
}

#[test]
fn statuses_are_microsofts() {
    let pairs = [
        (status::SUCCESS, win::STATUS_SUCCESS),
        (status::BUFFER_OVERFLOW, win::STATUS_BUFFER_OVERFLOW),
        (status::UNSUCCESSFUL, win::STATUS_UNSUCCESSFUL),
        (status::NOT_IMPLEMENTED, win::STATUS_NOT_IMPLEMENTED),
        (status::INVALID_PARAMETER, win::STATUS_INVALID_PARAMETER),
        (
            status::INVALID_DEVICE_REQUEST,
            win::STATUS_INVALID_DEVICE_REQUEST,
        ),
        (status::ACCESS_DENIED, win::STATUS_ACCESS_DENIED),
        (status::BUFFER_TOO_SMALL, win::STATUS_BUFFER_TOO_SMALL),
        (
            status::OBJECT_NAME_NOT_FOUND,
            win::STATUS_OBJECT_NAME_NOT_FOUND,
        ),
        (status::SHARING_VIOLATION, win::STATUS_SHARING_VIOLATION),
        (status::REVISION_MISMATCH, win::STATUS_REVISION_MISMATCH),
        (
            status::INSUFFICIENT_RESOURCES,
            win::STATUS_INSUFFICIENT_RESOURCES,
        ),
        (
            status::DEVICE_NOT_CONNECTED,
            win::STATUS_DEVICE_NOT_CONNECTED,
        ),
        (status::DEVICE_NOT_READY, win::STATUS_DEVICE_NOT_READY),
        (status::NOT_SUPPORTED, win::STATUS_NOT_SUPPORTED),
        (
            status::INFO_LENGTH_MISMATCH,
            win::STATUS_INFO_LENGTH_MISMATCH,
        ),
        (status::PROCEDURE_NOT_FOUND, win::STATUS_PROCEDURE_NOT_FOUND),
        (
            status::INVALID_DEVICE_STATE,
            win::STATUS_INVALID_DEVICE_STATE,
        ),
        (status::NOT_FOUND, win::STATUS_NOT_FOUND),
        (status::NO_MATCH, win::STATUS_NO_MATCH),
    ];
    for (ours, theirs) in pairs {
        assert_eq!(ours.0, theirs);
    }
}

#[test]
fn layouts_are_microsofts() {
    let pairs = [
        (size_of::<DriverObject>(), size_of::<wdk::DRIVER_OBJECT>()),
        (
            offset_of!(DriverObject, driver_unload),
            offset_of!(wdk::DRIVER_OBJECT, DriverUnload),
        ),
        (
            offset_of!(DriverObject, major_function),
            offset_of!(wdk::DRIVER_OBJECT, MajorFunction),
        ),
        (
            offset_of!(DeviceObject, flags),
            offset_of!(wdk::DEVICE_OBJECT, Flags),
        ),
        (
            offset_of!(DeviceObject, device_type),
            offset_of!(wdk::DEVICE_OBJECT, DeviceType),
        ),
        (size_of::<Irp>(), size_of::<wdk::IRP>()),
        (
            offset_of!(Irp, system_buffer),
            offset_of!(wdk::IRP, AssociatedIrp),
        ),
        (offset_of!(Irp, io_status), offset_of!(wdk::IRP, IoStatus)),
        (
            offset_of!(Irp, requestor_mode),
            offset_of!(wdk::IRP, RequestorMode),
        ),
        (
            offset_of!(StackLocation, minor_function),
            offset_of!(wdk::IO_STACK_LOCATION, MinorFunction),
        ),
        (
            offset_of!(FileObject, file_name),
            offset_of!(wdk::FILE_OBJECT, FileName),
        ),
        (size_of::<DataFormat>(), size_of::<media::KSDATAFORMAT>()),
        (
            size_of::<AudioRange>(),
            size_of::<media::KSDATARANGE_AUDIO>(),
        ),
        (size_of::<Attribute>(), size_of::<media::KSATTRIBUTE>()),
        (
            size_of::<HardwareLatency>(),
            size_of::<media::KSRTAUDIO_HWLATENCY>(),
        ),
        (
            size_of::<ks::AudioPosition>(),
            size_of::<media::KSAUDIO_POSITION>(),
        ),
    ];
    for (index, (ours, theirs)) in pairs.into_iter().enumerate() {
        assert_eq!(ours, theirs, "pair {index}");
    }
}
