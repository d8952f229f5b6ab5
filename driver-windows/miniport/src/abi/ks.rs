//! Layouts of kernel streaming and of PortCls' descriptors: ks.h, ksmedia.h, portcls.h, as laid out in mingw-w64's headers.

use super::guid::Guid;
use super::nt::Irp;
use super::status::Status;
use core::ffi::c_void;
use core::mem::{offset_of, size_of};

/// `KSDATAFORMAT`, and as well `KSDATARANGE`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct DataFormat {
    /// Bytes, with what follows it.
    pub format_size: u32,
    /// [`ATTRIBUTES`].
    pub flags: u32,
    /// Bytes of a sample, or 0.
    pub sample_size: u32,
    /// 0.
    pub reserved: u32,
    /// What kind of data.
    pub major: Guid,
    /// What encoding.
    pub sub: Guid,
    /// What follows.
    pub specifier: Guid,
}

/// `KSDATAFORMAT_ATTRIBUTES`, `KSDATARANGE_ATTRIBUTES`: a list of attributes follows.
pub const ATTRIBUTES: u32 = 2;

/// `KSDATARANGE_AUDIO`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AudioRange {
    /// What it is a range of.
    pub range: DataFormat,
    /// Channels.
    pub maximum_channels: u32,
    /// Bits of a sample.
    pub minimum_bits: u32,
    /// Bits of a sample.
    pub maximum_bits: u32,
    /// In Hz.
    pub minimum_rate: u32,
    /// In Hz.
    pub maximum_rate: u32,
}

/// `KSATTRIBUTE`.
#[derive(Debug)]
#[repr(C)]
pub struct Attribute {
    /// Bytes, with what follows it.
    pub size: u32,
    /// 0.
    pub flags: u32,
    /// Which.
    pub attribute: Guid,
}

/// `KSATTRIBUTE_LIST`.
#[derive(Debug)]
#[repr(C)]
pub struct AttributeList {
    /// How many.
    pub count: u32,
    /// Pointers to them.
    pub attributes: *const *const Attribute,
}

/// `KSPIN_DATAFLOW_IN`: into the filter.
pub const FLOW_IN: u32 = 1;
/// `KSPIN_DATAFLOW_OUT`: out of the filter.
pub const FLOW_OUT: u32 = 2;
/// `KSPIN_COMMUNICATION_NONE`: a bridge pin, which cannot be opened.
pub const COMMUNICATION_NONE: u32 = 0;
/// `KSPIN_COMMUNICATION_SINK`: the pin takes requests.
pub const COMMUNICATION_SINK: u32 = 1;

/// `KSPIN_DESCRIPTOR`.
#[derive(Debug)]
#[repr(C)]
pub struct PinDescriptor {
    /// Of `interfaces`.
    pub interfaces_count: u32,
    /// Null: the standard ones.
    pub interfaces: *const c_void,
    /// Of `mediums`.
    pub mediums_count: u32,
    /// Null: the standard ones.
    pub mediums: *const c_void,
    /// Of `data_ranges`, attribute lists included.
    pub data_ranges_count: u32,
    /// Ranges, and after each one with [`ATTRIBUTES`] its list.
    pub data_ranges: *const *const DataFormat,
    /// `FLOW_*`.
    pub data_flow: u32,
    /// `COMMUNICATION_*`.
    pub communication: u32,
    /// What is connected to it.
    pub category: *const Guid,
    /// Its name; null for that of the category.
    pub name: *const Guid,
    /// The union with the constrained data ranges.
    pub reserved: [u64; 2],
}

/// `PCPIN_DESCRIPTOR`.
#[derive(Debug)]
#[repr(C)]
pub struct PcPin {
    /// Instances in all.
    pub maximum_global_instances: u32,
    /// Instances in one filter.
    pub maximum_filter_instances: u32,
    /// Instances that the filter needs.
    pub minimum_filter_instances: u32,
    /// Properties of its own.
    pub automation: *const AutomationTable,
    /// The pin.
    pub pin: PinDescriptor,
}

/// `PCNODE_DESCRIPTOR`.
#[derive(Debug)]
#[repr(C)]
pub struct PcNode {
    /// 0.
    pub flags: u32,
    /// Properties of its own.
    pub automation: *const AutomationTable,
    /// What it does.
    pub kind: *const Guid,
    /// Its name; null for that of the kind.
    pub name: *const Guid,
}

/// `PCCONNECTION_DESCRIPTOR`. A node is its index, the filter [`FILTER`].
#[derive(Debug)]
#[repr(C)]
pub struct PcConnection {
    /// From there.
    pub from_node: u32,
    /// Its pin.
    pub from_pin: u32,
    /// To there.
    pub to_node: u32,
    /// Its pin.
    pub to_pin: u32,
}

/// `PCFILTER_NODE`.
pub const FILTER: u32 = u32::MAX;

/// `PCPFNPROPERTY_HANDLER`.
pub type PropertyHandler = unsafe extern "system" fn(*mut PropertyRequest) -> Status;

/// `PCPROPERTY_ITEM`.
#[derive(Debug)]
#[repr(C)]
pub struct PropertyItem {
    /// The property set.
    pub set: *const Guid,
    /// The property in it.
    pub id: u32,
    /// `TYPE_*`: what can be done with it.
    pub flags: u32,
    /// Who does it.
    pub handler: Option<PropertyHandler>,
}

/// `KSPROPERTY_TYPE_GET`.
pub const TYPE_GET: u32 = 1;
/// `KSPROPERTY_TYPE_SET`.
pub const TYPE_SET: u32 = 2;
/// `KSPROPERTY_TYPE_BASICSUPPORT`.
pub const TYPE_BASIC_SUPPORT: u32 = 0x200;

/// `PCPROPERTY_REQUEST`.
#[derive(Debug)]
#[repr(C)]
pub struct PropertyRequest {
    /// The miniport.
    pub major_target: *mut c_void,
    /// The stream, for a property of a stream.
    pub minor_target: *mut c_void,
    /// The node, or -1.
    pub node: u32,
    /// The entry of the automation table.
    pub item: *const PropertyItem,
    /// `TYPE_*`.
    pub verb: u32,
    /// Bytes of `instance`.
    pub instance_size: u32,
    /// What follows `KSPROPERTY` in the request: for a pin's property, number of the pin first.
    pub instance: *const u8,
    /// Bytes of `value`; the handler sets what it wrote.
    pub value_size: u32,
    /// The value.
    pub value: *mut u8,
    /// The request.
    pub irp: *mut Irp,
}

/// Size, number and table of items that there are none of.
#[derive(Debug)]
#[repr(C)]
pub struct NoItems {
    size_and_count: [u32; 2],
    items: *const c_void,
}

impl NoItems {
    /// None.
    pub const NONE: Self = Self {
        size_and_count: [0; 2],
        items: core::ptr::null(),
    };
}

/// `PCAUTOMATION_TABLE`.
#[derive(Debug)]
#[repr(C)]
pub struct AutomationTable {
    /// Bytes of a [`PropertyItem`].
    pub property_size: u32,
    /// How many.
    pub property_count: u32,
    /// The properties.
    pub properties: *const PropertyItem,
    /// Methods.
    pub methods: NoItems,
    /// Events.
    pub events: NoItems,
    /// 0.
    pub reserved: u32,
}

/// `PCFILTER_DESCRIPTOR`.
#[derive(Debug)]
#[repr(C)]
pub struct PcFilter {
    /// 0.
    pub version: u32,
    /// Properties of the filter.
    pub automation: *const AutomationTable,
    /// Bytes of a [`PcPin`].
    pub pin_size: u32,
    /// How many.
    pub pin_count: u32,
    /// The pins.
    pub pins: *const PcPin,
    /// Bytes of a [`PcNode`].
    pub node_size: u32,
    /// How many.
    pub node_count: u32,
    /// The nodes.
    pub nodes: *const PcNode,
    /// How many.
    pub connection_count: u32,
    /// The connections.
    pub connections: *const PcConnection,
    /// 0 for the default categories.
    pub category_count: u32,
    /// Null.
    pub categories: *const Guid,
}

/// `KSAUDIO_POSITION`, in bytes.
#[derive(Debug)]
#[repr(C)]
pub struct AudioPosition {
    /// For capture: up to where the buffer is written.
    pub play_offset: u64,
    /// The same.
    pub write_offset: u64,
}

/// `KSRTAUDIO_HWLATENCY`.
#[derive(Debug)]
#[repr(C)]
pub struct HardwareLatency {
    /// Bytes.
    pub fifo_size: u32,
    /// 100 ns.
    pub chipset_delay: u32,
    /// 100 ns.
    pub codec_delay: u32,
}

/// `DEVICE_DESCRIPTION` of wdm.h, for DMA, which is not used.
#[derive(Debug)]
#[repr(C)]
pub struct DeviceDescription {
    /// 0.
    pub version: u32,
    /// `Master`.
    pub master: u8,
    /// `ScatterGather`.
    pub scatter_gather: u8,
    /// `DemandMode`, `AutoInitialize`.
    pub modes: [u8; 2],
    /// `Dma32BitAddresses`.
    pub dma_32_bit: u8,
    /// Others.
    pub others: [u8; 3],
    /// Two numbers of a bus and a channel.
    pub numbers: [u32; 2],
    /// `INTERFACE_TYPE`.
    pub interface_type: u32,
    /// Two kinds of DMA.
    pub kinds: [u32; 2],
    /// Bytes of a transfer.
    pub maximum_length: u32,
    /// The port of a channel.
    pub port: u32,
}

const _: () = {
    assert!(size_of::<Guid>() == 16 && size_of::<DataFormat>() == 64);
    assert!(size_of::<AudioRange>() == 88 && offset_of!(AudioRange, maximum_rate) == 80);
    assert!(size_of::<Attribute>() == 24 && size_of::<AttributeList>() == 16);
    assert!(size_of::<PinDescriptor>() == 88 && offset_of!(PinDescriptor, category) == 56);
    assert!(size_of::<PcPin>() == 112 && offset_of!(PcPin, pin) == 24);
    assert!(size_of::<PcNode>() == 32 && size_of::<PcConnection>() == 16);
    assert!(size_of::<PropertyItem>() == 24);
    assert!(size_of::<PropertyRequest>() == 72 && offset_of!(PropertyRequest, value) == 56);
    assert!(size_of::<AutomationTable>() == 56 && offset_of!(AutomationTable, reserved) == 48);
    assert!(size_of::<PcFilter>() == 80 && offset_of!(PcFilter, connections) == 56);
    assert!(
        size_of::<DeviceDescription>() == 40 && offset_of!(DeviceDescription, maximum_length) == 32
    );
};
