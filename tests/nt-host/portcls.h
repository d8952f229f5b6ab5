/* What a port class driver and kernel streaming hand each other, as far as an audio capture filter goes: written after Microsoft's
 * documentation of portcls.h, ks.h and ksmedia.h and mingw-w64's headers of these names. IMiniportWaveRTInputStream and
 * IMiniportAudioSignalProcessing are missing in mingw-w64's; they are from the documentation alone. */
#ifndef TRUEMUTE_NT_HOST_PORTCLS_H
#define TRUEMUTE_NT_HOST_PORTCLS_H

#include <string.h>

#include "nt.h"

#define GUID_OF(a, b, c, ...) ((GUID){a, b, c, {__VA_ARGS__}})
static inline bool guid_is(const GUID *one, GUID other) { return memcmp(one, &other, sizeof other) == 0; }

/* "{CC9BE57A-EB9E-42B4-94FC-0CAD3DBCE7FA}" in memory order. */
#define CLSID_PortWaveRT GUID_OF(0xcc9be57a, 0xeb9e, 0x42b4, 0x94, 0xfc, 0x0c, 0xad, 0x3d, 0xbc, 0xe7, 0xfa)
#define CLSID_PortTopology GUID_OF(0xb4c90a32, 0x5791, 0x11d0, 0x86, 0xf9, 0x00, 0xa0, 0xc9, 0x11, 0xb5, 0x44)
#define IID_IUnknown GUID_OF(0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46)
#define IID_IPort GUID_OF(0xb4c90a25, 0x5791, 0x11d0, 0x86, 0xf9, 0x00, 0xa0, 0xc9, 0x11, 0xb5, 0x44)
#define IID_IPortWaveRT GUID_OF(0x339ff909, 0x68a9, 0x4310, 0xb0, 0x9b, 0x27, 0x4e, 0x96, 0xee, 0x4c, 0xbd)
#define IID_IPortTopology GUID_OF(0xb4c90a30, 0x5791, 0x11d0, 0x86, 0xf9, 0x00, 0xa0, 0xc9, 0x11, 0xb5, 0x44)
#define IID_IMiniportWaveRT GUID_OF(0x0f9fc4d6, 0x6061, 0x4f3c, 0xb1, 0xfc, 0x07, 0x5e, 0x35, 0xf7, 0x96, 0x0a)
#define IID_IMiniportTopology GUID_OF(0xb4c90a31, 0x5791, 0x11d0, 0x86, 0xf9, 0x00, 0xa0, 0xc9, 0x11, 0xb5, 0x44)
#define IID_IMiniportWaveRTStreamNotification GUID_OF(0x23759128, 0x96f1, 0x423b, 0xab, 0x4d, 0x81, 0x63, 0x5b, 0xcf, 0x8c, 0xa1)
#define IID_IMiniportWaveRTInputStream GUID_OF(0xcd8e756a, 0x5fc7, 0x4624, 0x98, 0x4b, 0x2a, 0xf0, 0x29, 0x25, 0xb9, 0x1f)
#define IID_IMiniportAudioSignalProcessing GUID_OF(0xb532678c, 0xbe50, 0x472d, 0x99, 0x73, 0x8a, 0x6f, 0x16, 0x59, 0x49, 0x89)
#define IID_IAdapterPowerManagement GUID_OF(0x793417d0, 0x35fe, 0x11d1, 0xad, 0x08, 0x00, 0xa0, 0xc9, 0x0a, 0xb1, 0xb0)

#define KSDATAFORMAT_TYPE_AUDIO GUID_OF(0x73647561, 0, 0x0010, 0x80, 0x00, 0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71)
#define KSDATAFORMAT_SUBTYPE_PCM GUID_OF(0x00000001, 0, 0x0010, 0x80, 0x00, 0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71)
#define KSDATAFORMAT_SUBTYPE_IEEE_FLOAT GUID_OF(0x00000003, 0, 0x0010, 0x80, 0x00, 0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71)
#define KSDATAFORMAT_SPECIFIER_WAVEFORMATEX GUID_OF(0x05589f81, 0xc356, 0x11ce, 0xbf, 0x01, 0x00, 0xaa, 0x00, 0x55, 0x59, 0x5a)
#define KSNODETYPE_ADC GUID_OF(0x4d837fe0, 0xc555, 0x11d0, 0x8a, 0x2b, 0x00, 0xa0, 0xc9, 0x25, 0x5a, 0xc1)
#define KSNODETYPE_MICROPHONE GUID_OF(0xdff21be1, 0xf70f, 0x11d0, 0xb9, 0x17, 0x00, 0xa0, 0xc9, 0x22, 0x31, 0x96)
#define KSNODETYPE_VOLUME GUID_OF(0x3a5acc00, 0xc557, 0x11d0, 0x8a, 0x2b, 0x00, 0xa0, 0xc9, 0x25, 0x5a, 0xc1)
#define KSNODETYPE_MUTE GUID_OF(0x02b223c0, 0xc557, 0x11d0, 0x8a, 0x2b, 0x00, 0xa0, 0xc9, 0x25, 0x5a, 0xc1)
#define KSCATEGORY_AUDIO GUID_OF(0x6994ad04, 0x93ef, 0x11d0, 0xa3, 0xcc, 0x00, 0xa0, 0xc9, 0x22, 0x31, 0x96)
#define KSPROPSETID_Pin GUID_OF(0x8c134960, 0x51ad, 0x11cf, 0x87, 0x8a, 0x94, 0xf8, 0x01, 0xc1, 0x00, 0x00)
#define KSPROPSETID_Jack GUID_OF(0x4509f757, 0x2d46, 0x4637, 0x8e, 0x62, 0xce, 0x7d, 0xb9, 0x44, 0xf5, 0x7b)
#define KSATTRIBUTEID_AUDIOSIGNALPROCESSING_MODE GUID_OF(0xe1f89eb5, 0x5f46, 0x419b, 0x96, 0x7b, 0xff, 0x67, 0x70, 0xb9, 0x84, 0x01)
#define AUDIO_SIGNALPROCESSINGMODE_DEFAULT GUID_OF(0xc18e2f7e, 0x933d, 0x4965, 0xb7, 0xd1, 0x1e, 0xef, 0x22, 0x8d, 0x2a, 0xf3)
#define AUDIO_SIGNALPROCESSINGMODE_COMMUNICATIONS GUID_OF(0x98951333, 0xb9cd, 0x48b1, 0xa0, 0xa3, 0xff, 0x40, 0x68, 0x2d, 0x73, 0xf7)
#define AUDIO_SIGNALPROCESSINGMODE_RAW GUID_OF(0x9e90ea20, 0xb493, 0x4fd1, 0xa1, 0xa8, 0x7e, 0x13, 0x61, 0xa9, 0x56, 0xcf)

/* ---- kernel streaming ---- */

typedef enum { KSSTATE_STOP, KSSTATE_ACQUIRE, KSSTATE_PAUSE, KSSTATE_RUN } KSSTATE;
enum { KSPIN_DATAFLOW_IN = 1, KSPIN_DATAFLOW_OUT = 2 };
enum { KSPIN_COMMUNICATION_NONE, KSPIN_COMMUNICATION_SINK, KSPIN_COMMUNICATION_SOURCE, KSPIN_COMMUNICATION_BOTH, KSPIN_COMMUNICATION_BRIDGE };
enum { KSPROPERTY_TYPE_GET = 1, KSPROPERTY_TYPE_SET = 2, KSPROPERTY_TYPE_BASICSUPPORT = 0x200 };
enum { KSPROPERTY_PIN_PROPOSEDATAFORMAT = 14, KSPROPERTY_PIN_PROPOSEDATAFORMAT2 = 15 };
enum { KSPROPERTY_JACK_DESCRIPTION = 1, KSPROPERTY_JACK_DESCRIPTION2 = 2 };
enum { KSDATAFORMAT_ATTRIBUTES = 2 };

typedef struct {
    ULONG FormatSize, Flags, SampleSize, Reserved;
    GUID MajorFormat, SubFormat, Specifier;
} __attribute__((aligned(8))) KSDATAFORMAT;

typedef struct {
    KSDATAFORMAT DataRange;
    ULONG MaximumChannels, MinimumBitsPerSample, MaximumBitsPerSample, MinimumSampleFrequency, MaximumSampleFrequency;
} KSDATARANGE_AUDIO;

typedef struct {
    USHORT wFormatTag, nChannels;
    ULONG nSamplesPerSec, nAvgBytesPerSec;
    USHORT nBlockAlign, wBitsPerSample, cbSize, wValidBitsPerSample;
    ULONG dwChannelMask;
    GUID SubFormat;
} __attribute__((packed)) WAVEFORMATEXTENSIBLE;

typedef struct {
    KSDATAFORMAT DataFormat;
    WAVEFORMATEXTENSIBLE WaveFormatExt;
} KSDATAFORMAT_WAVEFORMATEXTENSIBLE;

typedef struct {
    ULONG Size, Flags;
    GUID Attribute;
} KSATTRIBUTE;

typedef struct {
    ULONG Count;
    KSATTRIBUTE **Attributes;
} KSATTRIBUTE_LIST;

typedef struct {
    ULONG Size, Count;
} KSMULTIPLE_ITEM;

typedef struct {
    GUID Set;
    ULONG Id, Flags;
} __attribute__((aligned(8))) KSIDENTIFIER;

typedef struct {
    KSIDENTIFIER Property;
    ULONG PinId, Reserved;
} KSP_PIN;

typedef struct {
    ULONG InterfacesCount;
    const KSIDENTIFIER *Interfaces;
    ULONG MediumsCount;
    const KSIDENTIFIER *Mediums;
    ULONG DataRangesCount;
    KSDATAFORMAT *const *DataRanges;
    ULONG DataFlow, Communication;
    const GUID *Category, *Name;
    ULONG ConstrainedDataRangesCount;
    KSDATAFORMAT **ConstrainedDataRanges;
} KSPIN_DESCRIPTOR;

typedef struct {
    ULONG64 PlayOffset, WriteOffset;
} KSAUDIO_POSITION;

typedef struct {
    ULONG FifoSize, ChipsetDelay, CodecDelay;
} KSRTAUDIO_HWLATENCY;

typedef struct {
    PVOID Register;
    ULONG Width;
    ULONG64 Numerator, Denominator;
    ULONG Accuracy;
} KSRTAUDIO_HWREGISTER;

typedef struct {
    ULONG ChannelMapping, Color, ConnectionType, GeoLocation, GenLocation, PortConnection, IsConnected;
} KSJACK_DESCRIPTION;

/* ---- port class ---- */

#define PCFILTER_NODE 0xffffffffu

struct PCPROPERTY_REQUEST;
typedef NTSTATUS NTAPI PCPFNPROPERTY_HANDLER(struct PCPROPERTY_REQUEST *request);

typedef struct {
    const GUID *Set;
    ULONG Id, Flags;
    PCPFNPROPERTY_HANDLER *Handler;
} PCPROPERTY_ITEM;

typedef struct PCPROPERTY_REQUEST {
    PVOID MajorTarget, MinorTarget;
    ULONG Node;
    const PCPROPERTY_ITEM *PropertyItem;
    ULONG Verb, InstanceSize;
    PVOID Instance;
    ULONG ValueSize;
    PVOID Value;
    IRP *Irp;
} PCPROPERTY_REQUEST;

typedef struct {
    ULONG PropertyItemSize, PropertyCount;
    const PCPROPERTY_ITEM *Properties;
    ULONG MethodItemSize, MethodCount;
    PVOID Methods;
    ULONG EventItemSize, EventCount;
    PVOID Events;
    ULONG Reserved;
} PCAUTOMATION_TABLE;

typedef struct {
    ULONG FromNode, FromNodePin, ToNode, ToNodePin;
} PCCONNECTION_DESCRIPTOR;

typedef struct {
    ULONG MaxGlobalInstanceCount, MaxFilterInstanceCount, MinFilterInstanceCount;
    const PCAUTOMATION_TABLE *AutomationTable;
    KSPIN_DESCRIPTOR KsPinDescriptor;
} PCPIN_DESCRIPTOR;

typedef struct {
    ULONG Flags;
    const PCAUTOMATION_TABLE *AutomationTable;
    const GUID *Type, *Name;
} PCNODE_DESCRIPTOR;

typedef struct {
    ULONG Version;
    const PCAUTOMATION_TABLE *AutomationTable;
    ULONG PinSize, PinCount;
    const PCPIN_DESCRIPTOR *Pins;
    ULONG NodeSize, NodeCount;
    const PCNODE_DESCRIPTOR *Nodes;
    ULONG ConnectionCount;
    const PCCONNECTION_DESCRIPTOR *Connections;
    ULONG CategoryCount;
    const GUID *Categories;
} PCFILTER_DESCRIPTOR;

/* ---- interfaces: an object begins with a pointer to its table ---- */

#define UNKNOWN_METHODS(type)                                                  \
    NTSTATUS (NTAPI *QueryInterface)(type *self, const GUID *id, PVOID *found); \
    ULONG (NTAPI *AddRef)(type *self);                                         \
    ULONG (NTAPI *Release)(type *self);
#define INTERFACE(type, ...)                 \
    typedef struct type {                    \
        const struct type##Table *table;     \
    } type;                                  \
    typedef struct type##Table {             \
        UNKNOWN_METHODS(type)                \
        __VA_ARGS__                          \
    } type##Table;

INTERFACE(IUnknown)

INTERFACE(IPort,
    NTSTATUS (NTAPI *Init)(IPort *self, DEVICE_OBJECT *device, IRP *irp, IUnknown *miniport, IUnknown *adapter, PVOID resources);
    NTSTATUS (NTAPI *GetDeviceProperty)(IPort *self, int property, ULONG bytes, PVOID buffer, ULONG *length);
    NTSTATUS (NTAPI *NewRegistryKey)(IPort *self, PVOID *key, IUnknown *outer, ULONG type, ULONG access, PVOID attributes, ULONG options, ULONG *disposition);)

#define MINIPORT_METHODS(type)                                                                \
    NTSTATUS (NTAPI *GetDescription)(type *self, const PCFILTER_DESCRIPTOR **description);     \
    NTSTATUS (NTAPI *DataRangeIntersection)(type *self, ULONG pin, KSDATAFORMAT *range, KSDATAFORMAT *matching, ULONG room, PVOID format, ULONG *length);

INTERFACE(IMiniport, MINIPORT_METHODS(IMiniport))
INTERFACE(IMiniportTopology, MINIPORT_METHODS(IMiniportTopology)
    NTSTATUS (NTAPI *Init)(IMiniportTopology *self, IUnknown *adapter, PVOID resources, IPort *port);)

struct IMiniportWaveRTStream;
struct IPortWaveRTStream;
INTERFACE(IMiniportWaveRT, MINIPORT_METHODS(IMiniportWaveRT)
    NTSTATUS (NTAPI *Init)(IMiniportWaveRT *self, IUnknown *adapter, PVOID resources, IPort *port);
    NTSTATUS (NTAPI *NewStream)(IMiniportWaveRT *self, struct IMiniportWaveRTStream **stream, struct IPortWaveRTStream *port, ULONG pin, BOOLEAN capture, KSDATAFORMAT *format);
    NTSTATUS (NTAPI *GetDeviceDescription)(IMiniportWaveRT *self, PVOID description);)

INTERFACE(IPortWaveRTStream,
    MDL *(NTAPI *AllocatePagesForMdl)(IPortWaveRTStream *self, ULONG64 high, SIZE_T bytes);
    MDL *(NTAPI *AllocateContiguousPagesForMdl)(IPortWaveRTStream *self, ULONG64 low, ULONG64 high, SIZE_T bytes);
    PVOID (NTAPI *MapAllocatedPages)(IPortWaveRTStream *self, MDL *pages, int cache);
    void (NTAPI *UnmapAllocatedPages)(IPortWaveRTStream *self, PVOID base, MDL *pages);
    void (NTAPI *FreePagesFromMdl)(IPortWaveRTStream *self, MDL *pages);
    ULONG (NTAPI *GetPhysicalPagesCount)(IPortWaveRTStream *self, MDL *pages);
    ULONG64 (NTAPI *GetPhysicalPageAddress)(IPortWaveRTStream *self, MDL *pages, ULONG at);)

#define STREAM_METHODS(type)                                                                                                     \
    NTSTATUS (NTAPI *SetFormat)(type *self, KSDATAFORMAT *format);                                                               \
    NTSTATUS (NTAPI *SetState)(type *self, KSSTATE state);                                                                       \
    NTSTATUS (NTAPI *GetPosition)(type *self, KSAUDIO_POSITION *position);                                                       \
    NTSTATUS (NTAPI *AllocateAudioBuffer)(type *self, ULONG bytes, MDL **pages, ULONG *actual, ULONG *offset, int *cache);       \
    void (NTAPI *FreeAudioBuffer)(type *self, MDL *pages, ULONG bytes);                                                          \
    void (NTAPI *GetHWLatency)(type *self, KSRTAUDIO_HWLATENCY *latency);                                                        \
    NTSTATUS (NTAPI *GetPositionRegister)(type *self, KSRTAUDIO_HWREGISTER *found);                                              \
    NTSTATUS (NTAPI *GetClockRegister)(type *self, KSRTAUDIO_HWREGISTER *found);

INTERFACE(IMiniportWaveRTStream, STREAM_METHODS(IMiniportWaveRTStream))
INTERFACE(IMiniportWaveRTStreamNotification, STREAM_METHODS(IMiniportWaveRTStreamNotification)
    NTSTATUS (NTAPI *AllocateBufferWithNotification)(IMiniportWaveRTStreamNotification *self, ULONG count, ULONG bytes, MDL **pages, ULONG *actual, ULONG *offset, int *cache);
    void (NTAPI *FreeBufferWithNotification)(IMiniportWaveRTStreamNotification *self, MDL *pages, ULONG bytes);
    NTSTATUS (NTAPI *RegisterNotificationEvent)(IMiniportWaveRTStreamNotification *self, KEVENT *event);
    NTSTATUS (NTAPI *UnregisterNotificationEvent)(IMiniportWaveRTStreamNotification *self, KEVENT *event);)
INTERFACE(IMiniportWaveRTInputStream,
    NTSTATUS (NTAPI *GetReadPacket)(IMiniportWaveRTInputStream *self, ULONG *number, ULONG *flags, ULONG64 *counter, LONG *more);)
INTERFACE(IMiniportAudioSignalProcessing,
    NTSTATUS (NTAPI *GetModes)(IMiniportAudioSignalProcessing *self, ULONG pin, GUID *modes, ULONG *count);)
INTERFACE(IAdapterPowerManagement,
    void (NTAPI *PowerChangeState)(IAdapterPowerManagement *self, int state);
    NTSTATUS (NTAPI *QueryPowerChangeState)(IAdapterPowerManagement *self, int state);
    NTSTATUS (NTAPI *QueryDeviceCapabilities)(IAdapterPowerManagement *self, PVOID capabilities);)

/* ---- what the host knows of a driver that registered (portcls.c) ---- */

enum { MOST_SUBDEVICES = 4, MOST_CONNECTIONS = 4 };

/* A port of ours with the driver's miniport. */
typedef struct Port {
    IPort port;
    LONG references;
    bool is_wave, used;
    IMiniport *miniport;
    DEVICE_OBJECT *device;
} Port;

typedef struct {
    char name[32];
    Port *port;
} Subdevice;

typedef struct {
    Port *from, *to;
    ULONG from_pin, to_pin;
} Connection;

/* The registered wave subdevice; NULL if there is none. */
Port *portcls_wave(void);
const Subdevice *portcls_subdevices(int *count);
const Connection *portcls_connections(int *count);
/* Requests of handles to the filters that came to the port class, which answers them. */
long portcls_requests(void);
/* The device gets its full power, or loses all of it. */
NTSTATUS portcls_power(bool on);

#endif
