//! The two filters as data: pins, nodes, connections, properties. After the microphone array of Microsoft's SimpleAudioSample, less its
//! volume and mute nodes, since each would be a second mute state. What the properties do is in `properties.rs`.
//!
//! ```text
//!  topology: microphone (0) ---> (1) bridge ===> bridge (0) ---> ADC ---> (1) host pin: wave
//! ```

use crate::abi::Table;
use crate::abi::guid;
use crate::abi::ks::{
    ATTRIBUTES, Attribute, AttributeList, AudioRange, AutomationTable, COMMUNICATION_NONE,
    COMMUNICATION_SINK, DataFormat, FILTER, FLOW_IN, FLOW_OUT, NoItems, PcConnection, PcFilter,
    PcNode, PcPin, PinDescriptor, PropertyHandler, PropertyItem, TYPE_BASIC_SUPPORT, TYPE_GET,
    TYPE_SET,
};
use crate::properties::{jack, propose, proposed};
use core::mem::size_of;
use core::ptr::{from_ref, null};
use truemute_windows_interface::{BITS, CHANNELS, RATE};

/// The name of the wave subdevice: the INF's interfaces have it as their reference string.
pub const WAVE_NAME: &str = "WaveTrueMute";
/// The name of the topology subdevice.
pub const TOPOLOGY_NAME: &str = "TopologyTrueMute";

/// The wave filter's pin to the topology.
pub const WAVE_BRIDGE: u32 = 0;
/// The pin that the audio engine opens.
pub const WAVE_HOST: u32 = 1;
/// The topology's pin that stands for the microphone.
pub const TOPOLOGY_MICROPHONE: u32 = 0;
/// The topology's pin to the wave filter.
pub const TOPOLOGY_BRIDGE: u32 = 1;

/// `KSPROPERTY_PIN_PROPOSEDATAFORMAT` of ks.h.
const PROPOSE_FORMAT: u32 = 14;
/// `KSPROPERTY_PIN_PROPOSEDATAFORMAT2` of ks.h, since Windows 8.1.
const PROPOSED_FORMAT: u32 = 15;
/// `KSPROPERTY_JACK_DESCRIPTION` of ksmedia.h.
const JACK_DESCRIPTION: u32 = 1;
/// `KSPROPERTY_JACK_DESCRIPTION2` of ksmedia.h.
const JACK_DESCRIPTION_2: u32 = 2;

static ANALOG: DataFormat = DataFormat {
    format_size: size_of::<DataFormat>() as u32,
    flags: 0,
    sample_size: 0,
    reserved: 0,
    major: guid::TYPE_AUDIO,
    sub: guid::SUBTYPE_ANALOG,
    specifier: guid::SPECIFIER_NONE,
};

static HOST: AudioRange = AudioRange {
    range: DataFormat {
        format_size: size_of::<AudioRange>() as u32,
        flags: ATTRIBUTES,
        sample_size: 0,
        reserved: 0,
        major: guid::TYPE_AUDIO,
        sub: guid::SUBTYPE_PCM,
        specifier: guid::SPECIFIER_WAVEFORMATEX,
    },
    maximum_channels: CHANNELS as u32,
    minimum_bits: BITS as u32,
    maximum_bits: BITS as u32,
    minimum_rate: RATE,
    maximum_rate: RATE,
};

/// The range is one of a pin that knows signal processing modes.
static MODE: Attribute = Attribute {
    size: size_of::<Attribute>() as u32,
    flags: 0,
    attribute: guid::ATTRIBUTE_SIGNAL_PROCESSING_MODE,
};
static MODES: Table<[*const Attribute; 1]> = Table([&raw const MODE]);
static MODE_LIST: Table<AttributeList> = Table(AttributeList {
    count: 1,
    attributes: (&raw const MODES.0).cast(),
});

static BRIDGE_RANGES: Table<[*const DataFormat; 1]> = Table([&raw const ANALOG]);
static HOST_RANGES: Table<[*const DataFormat; 2]> =
    Table([&raw const HOST.range, from_ref(&MODE_LIST.0).cast()]);

const fn bridge(data_flow: u32, category: *const guid::Guid) -> PcPin {
    PcPin {
        maximum_global_instances: 0,
        maximum_filter_instances: 0,
        minimum_filter_instances: 0,
        automation: null(),
        pin: PinDescriptor {
            interfaces_count: 0,
            interfaces: null(),
            mediums_count: 0,
            mediums: null(),
            data_ranges_count: BRIDGE_RANGES.0.len() as u32,
            data_ranges: (&raw const BRIDGE_RANGES.0).cast(),
            data_flow,
            communication: COMMUNICATION_NONE,
            category,
            name: null(),
            reserved: [0; 2],
        },
    }
}

static WAVE_PINS: Table<[PcPin; 2]> = Table([
    bridge(FLOW_IN, &raw const guid::CATEGORY_AUDIO),
    PcPin {
        // One stream: a second one would need a second buffer to silence, and the audio engine is content with one.
        maximum_global_instances: 1,
        maximum_filter_instances: 1,
        minimum_filter_instances: 0,
        automation: null(),
        pin: PinDescriptor {
            interfaces_count: 0,
            interfaces: null(),
            mediums_count: 0,
            mediums: null(),
            data_ranges_count: HOST_RANGES.0.len() as u32,
            data_ranges: (&raw const HOST_RANGES.0).cast(),
            data_flow: FLOW_OUT,
            communication: COMMUNICATION_SINK,
            category: &raw const guid::CATEGORY_AUDIO,
            name: &raw const guid::NAME_RECORDING_CONTROL,
            reserved: [0; 2],
        },
    },
]);

static WAVE_NODES: Table<[PcNode; 1]> = Table([PcNode {
    flags: 0,
    automation: null(),
    kind: &raw const guid::NODE_ADC,
    name: null(),
}]);

static WAVE_CONNECTIONS: [PcConnection; 2] = [
    PcConnection {
        from_node: FILTER,
        from_pin: WAVE_BRIDGE,
        to_node: 0,
        to_pin: 1,
    },
    PcConnection {
        from_node: 0,
        from_pin: 0,
        to_node: FILTER,
        to_pin: WAVE_HOST,
    },
];

const fn property(
    set: *const guid::Guid,
    id: u32,
    verb: u32,
    handler: PropertyHandler,
) -> PropertyItem {
    PropertyItem {
        set,
        id,
        flags: verb | TYPE_BASIC_SUPPORT,
        handler: Some(handler),
    }
}

/// What a filter can be asked and told: these properties, and nothing else.
const fn automation<const N: usize>(
    properties: &'static Table<[PropertyItem; N]>,
) -> Table<AutomationTable> {
    Table(AutomationTable {
        property_size: size_of::<PropertyItem>() as u32,
        property_count: N as u32,
        properties: (&raw const properties.0).cast(),
        methods: NoItems::NONE,
        events: NoItems::NONE,
        reserved: 0,
    })
}

static WAVE_PROPERTIES: Table<[PropertyItem; 2]> = Table([
    property(
        &raw const guid::PROPSET_PIN,
        PROPOSE_FORMAT,
        TYPE_SET,
        propose,
    ),
    property(
        &raw const guid::PROPSET_PIN,
        PROPOSED_FORMAT,
        TYPE_GET,
        proposed,
    ),
]);
static WAVE_AUTOMATION: Table<AutomationTable> = automation(&WAVE_PROPERTIES);

/// The wave filter.
pub static WAVE: Table<PcFilter> = Table(PcFilter {
    version: 0,
    automation: &raw const WAVE_AUTOMATION.0,
    pin_size: size_of::<PcPin>() as u32,
    pin_count: WAVE_PINS.0.len() as u32,
    pins: (&raw const WAVE_PINS.0).cast(),
    node_size: size_of::<PcNode>() as u32,
    node_count: WAVE_NODES.0.len() as u32,
    nodes: (&raw const WAVE_NODES.0).cast(),
    connection_count: WAVE_CONNECTIONS.len() as u32,
    connections: (&raw const WAVE_CONNECTIONS).cast(),
    category_count: 0,
    categories: null(),
});

static TOPOLOGY_PINS: Table<[PcPin; 2]> = Table([
    bridge(FLOW_IN, &raw const guid::NODE_MICROPHONE),
    bridge(FLOW_OUT, &raw const guid::CATEGORY_AUDIO),
]);

static TOPOLOGY_CONNECTIONS: [PcConnection; 1] = [PcConnection {
    from_node: FILTER,
    from_pin: TOPOLOGY_MICROPHONE,
    to_node: FILTER,
    to_pin: TOPOLOGY_BRIDGE,
}];

static TOPOLOGY_PROPERTIES: Table<[PropertyItem; 2]> = Table([
    property(
        &raw const guid::PROPSET_JACK,
        JACK_DESCRIPTION,
        TYPE_GET,
        jack,
    ),
    property(
        &raw const guid::PROPSET_JACK,
        JACK_DESCRIPTION_2,
        TYPE_GET,
        jack,
    ),
]);
static TOPOLOGY_AUTOMATION: Table<AutomationTable> = automation(&TOPOLOGY_PROPERTIES);

/// The topology filter.
pub static TOPOLOGY: Table<PcFilter> = Table(PcFilter {
    version: 0,
    automation: &raw const TOPOLOGY_AUTOMATION.0,
    pin_size: size_of::<PcPin>() as u32,
    pin_count: TOPOLOGY_PINS.0.len() as u32,
    pins: (&raw const TOPOLOGY_PINS.0).cast(),
    node_size: size_of::<PcNode>() as u32,
    node_count: 0,
    nodes: null(),
    connection_count: TOPOLOGY_CONNECTIONS.len() as u32,
    connections: (&raw const TOPOLOGY_CONNECTIONS).cast(),
    category_count: 0,
    categories: null(),
});
