/* The filters, read as AudioEndpointBuilder reads them through the port class: what it needs is in Microsoft's "Audio Endpoint Builder
 * Algorithm", "Exposing Filter Topology" and "Audio Signal Processing Modes". */
#include "filters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../c-host/check.h"
#include "machine.h"

enum { NO_PIN = 0xffff, MOST_HOPS = 16, ROOM = 512 };

static const PCFILTER_DESCRIPTOR *description_of(Port *port) {
    const PCFILTER_DESCRIPTOR *description = NULL;
    NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, port->miniport->table->GetDescription(port->miniport, &description));
    if (!CHECK(succeeded(status) && description != NULL, "GetDescription: %#x", status)) return NULL;
    return description;
}

KSDATAFORMAT_WAVEFORMATEXTENSIBLE filters_format(unsigned rate, unsigned channels, unsigned bits, bool is_float) {
    const unsigned block = channels * bits / 8;
    return (KSDATAFORMAT_WAVEFORMATEXTENSIBLE){
        {sizeof(KSDATAFORMAT_WAVEFORMATEXTENSIBLE), 0, block, 0, KSDATAFORMAT_TYPE_AUDIO, is_float ? KSDATAFORMAT_SUBTYPE_IEEE_FLOAT : KSDATAFORMAT_SUBTYPE_PCM,
         KSDATAFORMAT_SPECIFIER_WAVEFORMATEX},
        {0xfffe, (USHORT)channels, rate, rate * block, (USHORT)block, (USHORT)bits, 22, (USHORT)bits, channels == 2 ? 3 : 4,
         is_float ? KSDATAFORMAT_SUBTYPE_IEEE_FLOAT : KSDATAFORMAT_SUBTYPE_PCM},
    };
}

ULONG filters_streaming_pin(void) {
    Port *wave = portcls_wave();
    const PCFILTER_DESCRIPTOR *filter = wave != NULL ? description_of(wave) : NULL;
    for (ULONG pin = 0; filter != NULL && pin < filter->PinCount; pin++)
        if (filter->Pins[pin].KsPinDescriptor.Communication != KSPIN_COMMUNICATION_NONE) return pin;
    return NO_PIN;
}

/* ---- descriptors ---- */

static void check_range(const char *name, ULONG pin, const KSDATAFORMAT *range) {
    CHECK(range->FormatSize == sizeof(KSDATAFORMAT) || range->FormatSize == sizeof(KSDATARANGE_AUDIO), "%s, pin %u: a data range of %u bytes", name, pin, range->FormatSize);
    CHECK(guid_is(&range->MajorFormat, KSDATAFORMAT_TYPE_AUDIO), "%s, pin %u: a data range that is no audio", name, pin);
    if (range->FormatSize != sizeof(KSDATARANGE_AUDIO)) return;
    const KSDATARANGE_AUDIO *audio = (const KSDATARANGE_AUDIO *)range;
    CHECK(audio->MinimumBitsPerSample <= audio->MaximumBitsPerSample && audio->MinimumSampleFrequency <= audio->MaximumSampleFrequency, "%s, pin %u: a data range upside down", name, pin);
}

/* A range with the attributes' flag is followed by their list. */
static bool check_ranges(const char *name, ULONG at, const KSPIN_DESCRIPTOR *pin) {
    bool has_modes = false;
    for (ULONG range = 0; range < pin->DataRangesCount; range++) {
        check_range(name, at, pin->DataRanges[range]);
        if (!(pin->DataRanges[range]->Flags & KSDATAFORMAT_ATTRIBUTES)) continue;
        if (!CHECK(range + 1 < pin->DataRangesCount, "%s, pin %u: a data range announces attributes and has none", name, at)) break;
        const KSATTRIBUTE_LIST *list = (const KSATTRIBUTE_LIST *)(const void *)pin->DataRanges[++range];
        CHECK(list->Count == 1 && list->Attributes[0]->Size == sizeof(KSATTRIBUTE), "%s, pin %u: %u attributes", name, at, list->Count);
        has_modes |= guid_is(&list->Attributes[0]->Attribute, KSATTRIBUTEID_AUDIOSIGNALPROCESSING_MODE);
    }
    return has_modes;
}

static void check_descriptor(const char *name, const PCFILTER_DESCRIPTOR *filter) {
    CHECK(filter->Version == 0, "%s: version %u of a filter's descriptor", name, filter->Version);
    CHECK(filter->PinSize == sizeof(PCPIN_DESCRIPTOR) && filter->PinCount > 0, "%s: %u pins of %u bytes", name, filter->PinCount, filter->PinSize);
    CHECK(filter->NodeSize == sizeof(PCNODE_DESCRIPTOR), "%s: nodes of %u bytes", name, filter->NodeSize);
    for (ULONG at = 0; at < filter->PinCount; at++) {
        const KSPIN_DESCRIPTOR *pin = &filter->Pins[at].KsPinDescriptor;
        CHECK(pin->DataFlow == KSPIN_DATAFLOW_IN || pin->DataFlow == KSPIN_DATAFLOW_OUT, "%s, pin %u: data flow %u", name, at, pin->DataFlow);
        CHECK(pin->DataRangesCount > 0 && pin->Category != NULL, "%s, pin %u: no data range or no category", name, at);
        check_ranges(name, at, pin);
    }
    for (ULONG at = 0; at < filter->NodeCount; at++) {
        const GUID *type = filter->Nodes[at].Type;
        if (!CHECK(type != NULL, "%s: node %u has no type", name, at)) continue;
        CHECK(!guid_is(type, KSNODETYPE_VOLUME) && !guid_is(type, KSNODETYPE_MUTE), "%s has a volume or mute node: another hand at what the gate decides", name);
    }
    for (ULONG at = 0; at < filter->ConnectionCount; at++) {
        const PCCONNECTION_DESCRIPTOR *connection = &filter->Connections[at];
        const struct {
            ULONG node, pin;
            bool begins;
        } ends[] = {{connection->FromNode, connection->FromNodePin, true}, {connection->ToNode, connection->ToNodePin, false}};
        for (int end = 0; end < 2; end++) {
            if (ends[end].node != PCFILTER_NODE) {
                CHECK(ends[end].node < filter->NodeCount, "%s: connection %u has node %u", name, at, ends[end].node);
                /* Data comes in at a node's pin 1 and goes out at 0 (KSNODEPIN_STANDARD_IN and _OUT). */
                CHECK(ends[end].pin == (ends[end].begins ? 0 : 1), "%s: connection %u at pin %u of a node", name, at, ends[end].pin);
            } else if (CHECK(ends[end].pin < filter->PinCount, "%s: connection %u has pin %u", name, at, ends[end].pin)) {
                ULONG flow = filter->Pins[ends[end].pin].KsPinDescriptor.DataFlow;
                CHECK(flow == (ends[end].begins ? KSPIN_DATAFLOW_IN : KSPIN_DATAFLOW_OUT), "%s: connection %u goes against the data flow of pin %u", name, at, ends[end].pin);
            }
        }
    }
}

/* Against the data flow, from a pin that gives to the one that takes; how many nodes lie between goes to `nodes`. */
static ULONG walk_back(const PCFILTER_DESCRIPTOR *filter, ULONG pin, const GUID **node_type, int *nodes) {
    ULONG node = PCFILTER_NODE, node_pin = pin;
    *nodes = 0;
    for (int hop = 0; hop < MOST_HOPS; hop++) {
        const PCCONNECTION_DESCRIPTOR *found = NULL;
        for (ULONG at = 0; at < filter->ConnectionCount; at++) {
            const PCCONNECTION_DESCRIPTOR *connection = &filter->Connections[at];
            if (connection->ToNode == node && (node != PCFILTER_NODE || connection->ToNodePin == node_pin)) found = connection;
        }
        if (found == NULL) return NO_PIN;
        node = found->FromNode, node_pin = found->FromNodePin;
        if (node == PCFILTER_NODE) return node_pin;
        *node_type = filter->Nodes[node].Type;
        (*nodes)++;
    }
    return NO_PIN;
}

/* From the pin that streams back to the microphone, across both filters. */
static void check_way(const PCFILTER_DESCRIPTOR *wave, const PCFILTER_DESCRIPTOR *topology) {
    const GUID *node = NULL;
    int nodes = 0, count = 0;
    ULONG streaming = filters_streaming_pin();
    if (!CHECK(streaming != NO_PIN, "no pin streams")) return;
    const PCPIN_DESCRIPTOR *pin = &wave->Pins[streaming];
    CHECK(pin->KsPinDescriptor.DataFlow == KSPIN_DATAFLOW_OUT && pin->KsPinDescriptor.Communication == KSPIN_COMMUNICATION_SINK, "the streaming pin is none for capture: flow %u, communication %u",
          pin->KsPinDescriptor.DataFlow, pin->KsPinDescriptor.Communication);
    CHECK(pin->MaxFilterInstanceCount == 1 && pin->MaxGlobalInstanceCount == 1, "%u streams at once, and not exactly one", pin->MaxFilterInstanceCount);
    CHECK(guid_is(pin->KsPinDescriptor.Category, KSCATEGORY_AUDIO), "the streaming pin is not of the category KSCATEGORY_AUDIO");
    CHECK(check_ranges("wave", streaming, &pin->KsPinDescriptor), "the streaming pin's data ranges know no signal processing modes");
    ULONG bridge = walk_back(wave, streaming, &node, &nodes);
    if (!CHECK(bridge != NO_PIN && nodes == 1 && guid_is(node, KSNODETYPE_ADC), "between the streaming pin and the bridge is no ADC node alone")) return;
    const Connection *connection = portcls_connections(&count);
    if (!CHECK(count == 1, "%d physical connections", count)) return;
    CHECK(!connection->from->is_wave && connection->to->is_wave && connection->to_pin == bridge, "the physical connection does not lead from the topology filter to pin %u of the wave filter", bridge);
    ULONG source = walk_back(topology, connection->from_pin, &node, &nodes);
    if (!CHECK(source != NO_PIN && nodes == 0, "nothing, or more than a wire, leads through the topology filter")) return;
    const KSPIN_DESCRIPTOR *microphone = &topology->Pins[source].KsPinDescriptor;
    CHECK(guid_is(microphone->Category, KSNODETYPE_MICROPHONE), "at the beginning is no microphone");
    for (ULONG at = 0; at < wave->PinCount + topology->PinCount; at++) {
        const KSPIN_DESCRIPTOR *other = at < wave->PinCount ? &wave->Pins[at].KsPinDescriptor : &topology->Pins[at - wave->PinCount].KsPinDescriptor;
        if (at != streaming) CHECK(other->Communication == KSPIN_COMMUNICATION_NONE, "a bridge pin could be opened");
    }
}

/* ---- properties ---- */

/* What stands behind KSPROPERTY in a request about a pin; for PROPOSEDATAFORMAT2 with the mode that is asked for. */
typedef struct {
    ULONG pin, reserved;
    KSMULTIPLE_ITEM list;
    KSATTRIBUTE attribute;
    GUID mode;
} Instance;
_Static_assert(sizeof(Instance) == 56, "KSP_PIN without KSPROPERTY, KSMULTIPLE_ITEM and KSATTRIBUTE_AUDIOSIGNALPROCESSING_MODE");

/* Asks a filter's own handler, with a value of exactly so many bytes that nothing lies behind. */
static NTSTATUS ask_for(Port *port, const PCPROPERTY_ITEM *item, ULONG verb, ULONG pin, GUID mode, const void *given, ULONG bytes, UCHAR *value, ULONG *length) {
    bool has_mode = guid_is(item->Set, KSPROPSETID_Pin) && item->Id == KSPROPERTY_PIN_PROPOSEDATAFORMAT2;
    const ULONG instance_bytes = has_mode ? sizeof(Instance) : 8;
    UCHAR *instance = pool_take(instance_bytes, "an instance"), *memory = bytes > 0 ? pool_take(bytes, "a value") : NULL;
    const Instance whole = {pin, 0, {48, 1}, {40, 0, KSATTRIBUTEID_AUDIOSIGNALPROCESSING_MODE}, mode};
    memcpy(instance, &whole, instance_bytes);
    if (given != NULL && bytes > 0) memcpy(memory, given, bytes);
    PCPROPERTY_REQUEST *request = pool_take(sizeof *request, "a property request");
    *request = (PCPROPERTY_REQUEST){.MajorTarget = port->miniport, .Node = PCFILTER_NODE, .PropertyItem = item, .Verb = verb, .InstanceSize = instance_bytes, .Instance = instance, .ValueSize = bytes, .Value = memory};
    NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, item->Handler(request));
    *length = request->ValueSize;
    if (status == STATUS_SUCCESS) CHECK(*length <= bytes, "property %u gives %u bytes for a buffer of %u", item->Id, *length, bytes);
    if (status == STATUS_SUCCESS && value != NULL && *length <= bytes && *length <= ROOM && bytes > 0) memcpy(value, memory, *length);
    pool_give_back(request, "a property request");
    if (memory != NULL) pool_give_back(memory, "a value");
    pool_give_back(instance, "an instance");
    return status;
}

static NTSTATUS ask(Port *port, const PCPROPERTY_ITEM *item, ULONG verb, ULONG pin, const void *given, ULONG bytes, UCHAR *value, ULONG *length) {
    return ask_for(port, item, verb, pin, AUDIO_SIGNALPROCESSINGMODE_RAW, given, bytes, value, length);
}

static const PCPROPERTY_ITEM *item_of(const PCFILTER_DESCRIPTOR *filter, GUID set, ULONG id) {
    const PCAUTOMATION_TABLE *table = filter->AutomationTable;
    for (ULONG at = 0; table != NULL && at < table->PropertyCount; at++) {
        const PCPROPERTY_ITEM *item = (const PCPROPERTY_ITEM *)(const void *)((const UCHAR *)table->Properties + (size_t)at * table->PropertyItemSize);
        if (guid_is(item->Set, set) && item->Id == id) return item;
    }
    return NULL;
}

/* Each property that says that it can be read: its length for no buffer, an error for too small a one, the value for the right one. */
static int check_properties(const char *name, Port *port, const PCFILTER_DESCRIPTOR *filter, ULONG pin) {
    const PCAUTOMATION_TABLE *table = filter->AutomationTable;
    UCHAR value[ROOM];
    ULONG length = 0, again = 0;
    int read = 0;
    if (table == NULL) return 0;
    CHECK(table->PropertyItemSize >= sizeof(PCPROPERTY_ITEM), "%s: properties of %u bytes", name, table->PropertyItemSize);
    for (ULONG at = 0; at < table->PropertyCount; at++) {
        const PCPROPERTY_ITEM *item = (const PCPROPERTY_ITEM *)(const void *)((const UCHAR *)table->Properties + (size_t)at * table->PropertyItemSize);
        CHECK(item->Set != NULL && item->Handler != NULL, "%s: property %u has no set or handler", name, at);
        if (item->Flags & KSPROPERTY_TYPE_BASICSUPPORT) {
            NTSTATUS status = ask(port, item, KSPROPERTY_TYPE_BASICSUPPORT, pin, NULL, 4, value, &length);
            CHECK(succeeded(status) && length == 4, "%s: basic support of property %u gives %#x and %u bytes", name, item->Id, status, length);
        }
        if (!(item->Flags & KSPROPERTY_TYPE_GET)) continue;
        NTSTATUS status = ask(port, item, KSPROPERTY_TYPE_GET, pin, NULL, 0, NULL, &length);
        if (!CHECK(status == STATUS_BUFFER_OVERFLOW && length > 0 && length <= ROOM, "%s: property %u without a buffer gives %#x and %u bytes", name, item->Id, status, length)) continue;
        for (ULONG bytes = 1; bytes < length; bytes += 7)
            CHECK(ask(port, item, KSPROPERTY_TYPE_GET, pin, NULL, bytes, NULL, &again) == STATUS_BUFFER_TOO_SMALL, "%s: property %u into %u bytes of %u", name, item->Id, bytes, length);
        status = ask(port, item, KSPROPERTY_TYPE_GET, pin, NULL, length, value, &again);
        CHECK(status == STATUS_SUCCESS && again == length, "%s: property %u gives %#x and %u bytes of %u", name, item->Id, status, again, length);
        status = ask(port, item, KSPROPERTY_TYPE_GET, 77, NULL, length, value, &again);
        CHECK(!succeeded(status), "%s: property %u of pin 77 gives %#x", name, item->Id, status);
        read++;
    }
    return read;
}

/* Whether the wave filter would take a format, by the property that the audio engine asks before it opens the pin. */
static NTSTATUS propose(Port *wave, const PCFILTER_DESCRIPTOR *filter, KSDATAFORMAT_WAVEFORMATEXTENSIBLE format) {
    ULONG length = 0;
    const PCPROPERTY_ITEM *item = item_of(filter, KSPROPSETID_Pin, KSPROPERTY_PIN_PROPOSEDATAFORMAT);
    if (!CHECK(item != NULL, "the wave filter has no PROPOSEDATAFORMAT")) return STATUS_NOT_FOUND;
    return ask(wave, item, KSPROPERTY_TYPE_SET, filters_streaming_pin(), &format, sizeof format, NULL, &length);
}

static void check_proposals(Port *wave, const PCFILTER_DESCRIPTOR *filter) {
    static const struct {
        unsigned rate, channels, bits;
        bool is_float;
    } others[] = {{44100, 2, 32, false}, {48000, 1, 32, false}, {48000, 2, 16, false}, {48000, 2, 24, false}, {48000, 2, 32, true}, {96000, 2, 32, false}, {48000, 8, 32, false}};
    CHECK(propose(wave, filter, filters_format(48000, 2, 32, false)) == STATUS_SUCCESS, "the one format is refused");
    for (unsigned at = 0; at < sizeof others / sizeof others[0]; at++)
        CHECK(propose(wave, filter, filters_format(others[at].rate, others[at].channels, others[at].bits, others[at].is_float)) == STATUS_NO_MATCH, "%u Hz, %u channels, %u bits%s is not refused",
              others[at].rate, others[at].channels, others[at].bits, others[at].is_float ? ", float" : "");
    const PCPROPERTY_ITEM *item = item_of(filter, KSPROPSETID_Pin, KSPROPERTY_PIN_PROPOSEDATAFORMAT);
    KSDATAFORMAT_WAVEFORMATEXTENSIBLE format = filters_format(48000, 2, 32, false);
    ULONG length = 0;
    for (ULONG bytes = 0; item != NULL && bytes < sizeof format; bytes++)
        CHECK(!succeeded(ask(wave, item, KSPROPERTY_TYPE_SET, filters_streaming_pin(), &format, bytes, NULL, &length)), "%u bytes of a format are taken for one", bytes);
}

/* What the pin proposes, by the property that Windows 8.1 and later ask: the one format with the mode behind it, for the raw mode alone. */
static void check_proposed(Port *wave, const PCFILTER_DESCRIPTOR *filter) {
    const PCPROPERTY_ITEM *item = item_of(filter, KSPROPSETID_Pin, KSPROPERTY_PIN_PROPOSEDATAFORMAT2);
    if (!CHECK(item != NULL, "the wave filter has no PROPOSEDATAFORMAT2")) return;
    const GUID others[] = {AUDIO_SIGNALPROCESSINGMODE_DEFAULT, AUDIO_SIGNALPROCESSINGMODE_COMMUNICATIONS};
    KSDATAFORMAT_WAVEFORMATEXTENSIBLE expected = filters_format(48000, 2, 32, false);
    expected.DataFormat.Flags = KSDATAFORMAT_ATTRIBUTES;
    UCHAR value[ROOM];
    ULONG length = 0;
    NTSTATUS status = ask(wave, item, KSPROPERTY_TYPE_GET, filters_streaming_pin(), NULL, sizeof expected + 48, value, &length);
    CHECK(status == STATUS_SUCCESS && length == sizeof expected + 48 && memcmp(value, &expected, sizeof expected) == 0, "what is proposed is another format, or %#x and %u bytes", status, length);
    const Instance mode = {.list = {48, 1}, .attribute = {40, 0, KSATTRIBUTEID_AUDIOSIGNALPROCESSING_MODE}, .mode = AUDIO_SIGNALPROCESSINGMODE_RAW};
    CHECK(memcmp(value + sizeof expected, &mode.list, 48) == 0, "what is proposed is not for the mode that was asked for");
    for (unsigned at = 0; at < sizeof others / sizeof others[0]; at++) {
        status = ask_for(wave, item, KSPROPERTY_TYPE_GET, filters_streaming_pin(), others[at], NULL, sizeof expected + 48, NULL, &length);
        CHECK(!succeeded(status), "a format is proposed for a mode that the pin has not (%u)", at);
    }
}

/* ---- intersection ---- */

static void check_intersection(Port *wave, const PCFILTER_DESCRIPTOR *filter) {
    ULONG pin = filters_streaming_pin(), length = 0;
    if (pin == NO_PIN) return;
    KSDATAFORMAT *ours = filter->Pins[pin].KsPinDescriptor.DataRanges[0];
    KSDATARANGE_AUDIO asked = {{sizeof asked, 0, 0, 0, KSDATAFORMAT_TYPE_AUDIO, KSDATAFORMAT_SUBTYPE_PCM, KSDATAFORMAT_SPECIFIER_WAVEFORMATEX}, 8, 8, 32, 8000, 192000};
    KSDATAFORMAT_WAVEFORMATEXTENSIBLE expected = filters_format(48000, 2, 32, false);
    KSDATAFORMAT_WAVEFORMATEXTENSIBLE *found = pool_take(sizeof *found, "a format");
    IMiniport *miniport = wave->miniport;
    NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, miniport->table->DataRangeIntersection(miniport, pin, &asked.DataRange, ours, 0, NULL, &length));
    CHECK(status == STATUS_BUFFER_OVERFLOW && length == sizeof *found, "an intersection without a buffer gives %#x and %u bytes", status, length);
    status = FROM_DRIVER(PASSIVE_LEVEL, miniport->table->DataRangeIntersection(miniport, pin, &asked.DataRange, ours, 40, found, &length));
    CHECK(status == STATUS_BUFFER_TOO_SMALL, "an intersection into 40 bytes gives %#x", status);
    status = FROM_DRIVER(PASSIVE_LEVEL, miniport->table->DataRangeIntersection(miniport, pin, &asked.DataRange, ours, sizeof *found, found, &length));
    /* The size of a sample may be said or not: Microsoft's samples leave it 0. */
    if (found->DataFormat.SampleSize == 0) expected.DataFormat.SampleSize = 0;
    CHECK(status == STATUS_SUCCESS && length == sizeof *found && memcmp(found, &expected, sizeof expected) == 0, "the intersection is another format, or %#x and %u bytes", status, length);
    pool_give_back(found, "a format");
    /* That the kinds of format agree sees the port class before it asks. */
    KSDATARANGE_AUDIO others[] = {asked, asked, asked};
    others[0].MaximumSampleFrequency = 44100;
    others[1].MaximumChannels = 1;
    others[2].MaximumBitsPerSample = 16;
    for (int at = 0; at < 3; at++) {
        status = FROM_DRIVER(PASSIVE_LEVEL, miniport->table->DataRangeIntersection(miniport, pin, &others[at].DataRange, ours, 0, NULL, &length));
        CHECK(status == STATUS_NO_MATCH, "an intersection with nothing in common (%d) gives %#x", at, status);
    }
}

static int check_modes(Port *wave) {
    GUID modes[8];
    ULONG count = 0;
    PVOID found = NULL;
    const GUID id = IID_IMiniportAudioSignalProcessing;
    IMiniport *miniport = wave->miniport;
    if (!CHECK(succeeded(FROM_DRIVER(PASSIVE_LEVEL, miniport->table->QueryInterface(miniport, &id, &found))), "the wave miniport has no IMiniportAudioSignalProcessing")) return 0;
    IMiniportAudioSignalProcessing *modal = found;
    ULONG pin = filters_streaming_pin();
    NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, modal->table->GetModes(modal, pin, NULL, &count));
    CHECK(status == STATUS_SUCCESS && count >= 1 && count <= 8, "GetModes without a buffer gives %#x and %u modes", status, count);
    ULONG room = 0;
    status = FROM_DRIVER(PASSIVE_LEVEL, modal->table->GetModes(modal, pin, modes, &room));
    CHECK(status == STATUS_BUFFER_TOO_SMALL, "GetModes into no room gives %#x", status);
    room = count;
    status = FROM_DRIVER(PASSIVE_LEVEL, modal->table->GetModes(modal, pin, modes, &room));
    bool raw = false;
    for (ULONG at = 0; at < room && at < 8; at++) raw |= guid_is(&modes[at], AUDIO_SIGNALPROCESSINGMODE_RAW);
    CHECK(status == STATUS_SUCCESS && room == count && raw, "GetModes gives %#x and %u modes, RAW %d", status, room, raw);
    INTO_DRIVER(PASSIVE_LEVEL, modal->table->Release(modal));
    return (int)count;
}

void print_filters(void) {
    int count = 0, modes = 0, read = 0;
    const Subdevice *subdevices = portcls_subdevices(&count);
    Port *wave = portcls_wave(), *topology = NULL;
    for (int at = 0; at < count; at++)
        if (!subdevices[at].port->is_wave) topology = subdevices[at].port;
    const PCFILTER_DESCRIPTOR *wave_filter = wave != NULL ? description_of(wave) : NULL, *topology_filter = topology != NULL ? description_of(topology) : NULL;
    if (CHECK(count == 2 && wave_filter != NULL && topology_filter != NULL, "%d subdevices, and not one wave and one topology filter", count)) {
        check_descriptor("wave", wave_filter);
        check_descriptor("topology", topology_filter);
        check_way(wave_filter, topology_filter);
        check_proposals(wave, wave_filter);
        check_proposed(wave, wave_filter);
        check_intersection(wave, wave_filter);
        modes = check_modes(wave);
        read = check_properties("topology", topology, topology_filter, 0) + check_properties("wave", wave, wave_filter, filters_streaming_pin());
        CHECK(item_of(topology_filter, KSPROPSETID_Jack, KSPROPERTY_JACK_DESCRIPTION) != NULL, "the topology filter describes no jack");
    }
    printf("{\"subdevices\":[");
    for (int at = 0; at < count; at++) printf("%s\"%s\"", at > 0 ? "," : "", subdevices[at].name);
    printf("],\"modes\":%d,\"properties_read\":%d}\n", modes, read);
}
