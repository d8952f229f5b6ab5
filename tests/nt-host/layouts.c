/* Where this host believes every field to lie, one a line: "TYPE BYTES" and "TYPE.FIELD BYTES", in Microsoft's names, to be held beside
 * mingw-w64's headers and beside the driver's own. */
#include "layouts.h"

#include <stdio.h>

#include "portcls.h"

#define SIZE(type) printf(#type " %zu\n", sizeof(type))
#define FIELD(type, field) printf(#type "." #field " %zu\n", offsetof(type, field))
#define FIELD_AS(type, field, name) printf(#type "." name " %zu\n", offsetof(type, field))

static void print_kernel(void) {
    SIZE(UNICODE_STRING), FIELD(UNICODE_STRING, Length), FIELD(UNICODE_STRING, MaximumLength), FIELD(UNICODE_STRING, Buffer);
    SIZE(KEVENT), SIZE(KDPC), FIELD(KDPC, DeferredRoutine), FIELD(KDPC, DeferredContext), FIELD(KDPC, SystemArgument1), FIELD(KDPC, DpcData);
    SIZE(MDL), FIELD(MDL, MdlFlags), FIELD(MDL, MappedSystemVa), FIELD(MDL, StartVa), FIELD(MDL, ByteCount), FIELD(MDL, ByteOffset);
    SIZE(IO_STATUS_BLOCK), FIELD(IO_STATUS_BLOCK, Information);
    SIZE(IRP), FIELD(IRP, Size), FIELD(IRP, MdlAddress), FIELD(IRP, Flags), FIELD(IRP, IoStatus), FIELD(IRP, RequestorMode), FIELD(IRP, PendingReturned);
    FIELD(IRP, StackCount), FIELD(IRP, CurrentLocation), FIELD(IRP, Cancel), FIELD(IRP, CancelIrql), FIELD(IRP, UserIosb), FIELD(IRP, CancelRoutine), FIELD(IRP, UserBuffer);
    FIELD(IRP, Tail.Overlay.DriverContext), FIELD(IRP, Tail.Overlay.Thread), FIELD(IRP, Tail.Overlay.ListEntry), FIELD(IRP, Tail.Overlay.CurrentStackLocation);
    FIELD(IRP, Tail.Overlay.OriginalFileObject), FIELD_AS(IRP, SystemBuffer, "AssociatedIrp.SystemBuffer");
    SIZE(IO_STACK_LOCATION), FIELD(IO_STACK_LOCATION, MinorFunction), FIELD(IO_STACK_LOCATION, Control), FIELD(IO_STACK_LOCATION, Parameters);
    FIELD(IO_STACK_LOCATION, Parameters.DeviceIoControl.OutputBufferLength), FIELD(IO_STACK_LOCATION, Parameters.DeviceIoControl.InputBufferLength);
    FIELD(IO_STACK_LOCATION, Parameters.DeviceIoControl.IoControlCode), FIELD(IO_STACK_LOCATION, Parameters.Create.Options), FIELD(IO_STACK_LOCATION, Parameters.Create.ShareAccess);
    FIELD(IO_STACK_LOCATION, DeviceObject), FIELD(IO_STACK_LOCATION, FileObject), FIELD(IO_STACK_LOCATION, CompletionRoutine), FIELD(IO_STACK_LOCATION, Context);
    SIZE(FAST_IO_DISPATCH), FIELD(FAST_IO_DISPATCH, FastIoDeviceControl);
    SIZE(DRIVER_OBJECT), FIELD(DRIVER_OBJECT, FastIoDispatch), FIELD(DRIVER_OBJECT, DeviceObject), FIELD(DRIVER_OBJECT, DriverStart), FIELD(DRIVER_OBJECT, DriverExtension), FIELD(DRIVER_OBJECT, DriverName);
    FIELD(DRIVER_OBJECT, DriverInit), FIELD(DRIVER_OBJECT, DriverUnload), FIELD(DRIVER_OBJECT, MajorFunction);
    FIELD(DRIVER_EXTENSION, AddDevice);
    /* The device's size is wrong in mingw-w64's headers (an alignment is missing at the queue): what lies before it is compared. */
    FIELD(DEVICE_OBJECT, Size), FIELD(DEVICE_OBJECT, DriverObject), FIELD(DEVICE_OBJECT, NextDevice), FIELD(DEVICE_OBJECT, AttachedDevice), FIELD(DEVICE_OBJECT, Flags);
    FIELD(DEVICE_OBJECT, Characteristics), FIELD(DEVICE_OBJECT, DeviceExtension), FIELD(DEVICE_OBJECT, DeviceType), FIELD(DEVICE_OBJECT, StackSize);
    SIZE(FILE_OBJECT), FIELD(FILE_OBJECT, DeviceObject), FIELD(FILE_OBJECT, FsContext), FIELD(FILE_OBJECT, FsContext2), FIELD(FILE_OBJECT, ReadAccess), FIELD(FILE_OBJECT, WriteAccess);
    FIELD(FILE_OBJECT, Flags), FIELD(FILE_OBJECT, FileName);
}

static void print_audio(void) {
    SIZE(KSDATAFORMAT), FIELD(KSDATAFORMAT, MajorFormat), FIELD(KSDATAFORMAT, SubFormat), FIELD(KSDATAFORMAT, Specifier);
    SIZE(KSDATARANGE_AUDIO), FIELD(KSDATARANGE_AUDIO, MaximumChannels), FIELD(KSDATARANGE_AUDIO, MaximumSampleFrequency);
    SIZE(WAVEFORMATEXTENSIBLE), FIELD(WAVEFORMATEXTENSIBLE, dwChannelMask), FIELD(WAVEFORMATEXTENSIBLE, SubFormat);
    SIZE(KSATTRIBUTE), SIZE(KSATTRIBUTE_LIST), FIELD(KSATTRIBUTE_LIST, Attributes), SIZE(KSIDENTIFIER), SIZE(KSMULTIPLE_ITEM), SIZE(KSP_PIN), FIELD(KSP_PIN, PinId);
    SIZE(KSPIN_DESCRIPTOR), FIELD(KSPIN_DESCRIPTOR, Interfaces), FIELD(KSPIN_DESCRIPTOR, Mediums), FIELD(KSPIN_DESCRIPTOR, DataRangesCount), FIELD(KSPIN_DESCRIPTOR, DataRanges);
    FIELD(KSPIN_DESCRIPTOR, DataFlow), FIELD(KSPIN_DESCRIPTOR, Communication), FIELD(KSPIN_DESCRIPTOR, Category), FIELD(KSPIN_DESCRIPTOR, Name);
    SIZE(KSAUDIO_POSITION), SIZE(KSRTAUDIO_HWLATENCY), SIZE(KSRTAUDIO_HWREGISTER), FIELD(KSRTAUDIO_HWREGISTER, Numerator), SIZE(KSJACK_DESCRIPTION);
    SIZE(PCPROPERTY_ITEM), FIELD(PCPROPERTY_ITEM, Id), FIELD(PCPROPERTY_ITEM, Handler);
    SIZE(PCPROPERTY_REQUEST), FIELD(PCPROPERTY_REQUEST, Node), FIELD(PCPROPERTY_REQUEST, PropertyItem), FIELD(PCPROPERTY_REQUEST, Verb), FIELD(PCPROPERTY_REQUEST, Instance);
    FIELD(PCPROPERTY_REQUEST, ValueSize), FIELD(PCPROPERTY_REQUEST, Value), FIELD(PCPROPERTY_REQUEST, Irp);
    SIZE(PCAUTOMATION_TABLE), FIELD(PCAUTOMATION_TABLE, Properties), FIELD(PCAUTOMATION_TABLE, Methods), FIELD(PCAUTOMATION_TABLE, Events);
    SIZE(PCCONNECTION_DESCRIPTOR), FIELD(PCCONNECTION_DESCRIPTOR, FromNodePin), FIELD(PCCONNECTION_DESCRIPTOR, ToNode), FIELD(PCCONNECTION_DESCRIPTOR, ToNodePin);
    SIZE(PCPIN_DESCRIPTOR), FIELD(PCPIN_DESCRIPTOR, AutomationTable), FIELD(PCPIN_DESCRIPTOR, KsPinDescriptor);
    SIZE(PCNODE_DESCRIPTOR), FIELD(PCNODE_DESCRIPTOR, Type);
    SIZE(PCFILTER_DESCRIPTOR), FIELD(PCFILTER_DESCRIPTOR, AutomationTable), FIELD(PCFILTER_DESCRIPTOR, PinSize), FIELD(PCFILTER_DESCRIPTOR, Pins), FIELD(PCFILTER_DESCRIPTOR, NodeSize);
    FIELD(PCFILTER_DESCRIPTOR, Nodes), FIELD(PCFILTER_DESCRIPTOR, ConnectionCount), FIELD(PCFILTER_DESCRIPTOR, Connections), FIELD(PCFILTER_DESCRIPTOR, CategoryCount), FIELD(PCFILTER_DESCRIPTOR, Categories);
}

int print_layouts(void) {
    print_kernel();
    print_audio();
    return 0;
}
