/* Stands in for Windows' portcls.sys under Wine, which has none: so much of it that the driver starts, gets its device and is removed.
 * It makes no endpoint and never asks for sound: driving the driver is tests/nt-host's work. Written after Microsoft's documentation and
 * mingw-w64's ddk/wdm.h, and without any look at the driver. */
#include <ddk/wdm.h>

/* portcls.h: what a driver may put behind PortCls' own part of a device extension begins there. */
#define OWN_EXTENSION (64 * sizeof(void *))
/* What one device can register at most here. */
#define MOST_HELD 16

typedef struct Object Object;
typedef struct {
    NTSTATUS(NTAPI *QueryInterface)(Object *, const GUID *, void **);
    ULONG(NTAPI *AddRef)(Object *);
    ULONG(NTAPI *Release)(Object *);
} ObjectTable;
struct Object {
    const ObjectTable *table;
};

typedef NTSTATUS NTAPI StartDevice(DEVICE_OBJECT *device, IRP *irp, void *resources);

typedef struct {
    DEVICE_OBJECT *below;
    StartDevice *start;
    Object *held[MOST_HELD];
    ULONG held_count;
} Extension;

static Extension *extension(DEVICE_OBJECT *device) { return device->DeviceExtension; }

static NTSTATUS hold(DEVICE_OBJECT *device, Object *object) {
    Extension *of = extension(device);
    if (!object)
        return STATUS_INVALID_PARAMETER;
    if (of->held_count == MOST_HELD)
        return STATUS_INSUFFICIENT_RESOURCES;
    object->table->AddRef(object);
    of->held[of->held_count++] = object;
    return STATUS_SUCCESS;
}

static NTSTATUS complete(IRP *irp, NTSTATUS status) {
    irp->IoStatus.Status = status;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS pass(DEVICE_OBJECT *device, IRP *irp) {
    IoSkipCurrentIrpStackLocation(irp);
    return IoCallDriver(extension(device)->below, irp);
}

NTSTATUS NTAPI PcDispatchIrp(DEVICE_OBJECT *device, IRP *irp) {
    IO_STACK_LOCATION *at = IoGetCurrentIrpStackLocation(irp);
    Extension *of = extension(device);
    if (at->MajorFunction == IRP_MJ_PNP && at->MinorFunction == IRP_MN_START_DEVICE)
        /* The device below is Wine's for a root-enumerated device, which has nothing to start. */
        return complete(irp, of->start(device, irp, NULL));
    if (at->MajorFunction == IRP_MJ_PNP && at->MinorFunction == IRP_MN_REMOVE_DEVICE) {
        DEVICE_OBJECT *below = of->below;
        while (of->held_count) {
            Object *object = of->held[--of->held_count];
            object->table->Release(object);
        }
        irp->IoStatus.Status = STATUS_SUCCESS;
        IoSkipCurrentIrpStackLocation(irp);
        NTSTATUS status = IoCallDriver(below, irp);
        IoDetachDevice(below);
        IoDeleteDevice(device);
        return status;
    }
    if (at->MajorFunction == IRP_MJ_PNP || at->MajorFunction == IRP_MJ_POWER || at->MajorFunction == IRP_MJ_SYSTEM_CONTROL)
        return pass(device, irp);
    return complete(irp, STATUS_INVALID_DEVICE_REQUEST);
}

static void NTAPI unload(DRIVER_OBJECT *driver) { (void)driver; }

NTSTATUS NTAPI PcInitializeAdapterDriver(DRIVER_OBJECT *driver, UNICODE_STRING *path, PDRIVER_ADD_DEVICE add) {
    (void)path;
    for (int major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++)
        driver->MajorFunction[major] = PcDispatchIrp;
    driver->DriverExtension->AddDevice = add;
    driver->DriverUnload = unload;
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI PcAddAdapterDevice(DRIVER_OBJECT *driver, DEVICE_OBJECT *below, StartDevice *start, ULONG most, ULONG bytes) {
    DEVICE_OBJECT *device;
    (void)most;
    if (bytes && bytes < OWN_EXTENSION)
        return STATUS_INVALID_PARAMETER;
    NTSTATUS status = IoCreateDevice(driver, bytes ? bytes : OWN_EXTENSION, NULL, FILE_DEVICE_KS, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;
    extension(device)->start = start;
    extension(device)->below = IoAttachDeviceToDeviceStack(device, below);
    device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}

/* A port: it keeps the miniport that it is given, and gives nothing else. */
typedef struct Port Port;
typedef struct {
    NTSTATUS(NTAPI *QueryInterface)(Port *, const GUID *, void **);
    ULONG(NTAPI *AddRef)(Port *);
    ULONG(NTAPI *Release)(Port *);
    NTSTATUS(NTAPI *Init)(Port *, DEVICE_OBJECT *, IRP *, Object *miniport, Object *adapter, void *resources);
    NTSTATUS(NTAPI *GetDeviceProperty)(Port *, int, ULONG, void *, ULONG *);
    NTSTATUS(NTAPI *NewRegistryKey)(Port *, void **, Object *, ULONG, ULONG, void *, void *, ULONG, ULONG *);
} PortTable;
struct Port {
    const PortTable *table;
    LONG references;
};

static NTSTATUS NTAPI port_query(Port *port, const GUID *id, void **out) {
    static const GUID unknown = {0, 0, 0, {0xc0, 0, 0, 0, 0, 0, 0, 0x46}};
    static const GUID generic = {0xb4c90a25, 0x5791, 0x11d0, {0x86, 0xf9, 0, 0xa0, 0xc9, 0x11, 0xb5, 0x44}};
    *out = NULL;
    if (RtlCompareMemory(id, &unknown, sizeof *id) != sizeof *id && RtlCompareMemory(id, &generic, sizeof *id) != sizeof *id)
        return STATUS_NOT_SUPPORTED;
    port->table->AddRef(port);
    *out = port;
    return STATUS_SUCCESS;
}
static ULONG NTAPI port_add(Port *port) { return InterlockedIncrement(&port->references); }
static ULONG NTAPI port_release(Port *port) {
    ULONG left = InterlockedDecrement(&port->references);
    if (!left)
        ExFreePool(port);
    return left;
}
static NTSTATUS NTAPI port_init(Port *port, DEVICE_OBJECT *device, IRP *irp, Object *miniport, Object *adapter, void *resources) {
    (void)port, (void)irp, (void)adapter, (void)resources;
    return hold(device, miniport);
}
static NTSTATUS NTAPI port_property(Port *port, int which, ULONG bytes, void *into, ULONG *got) {
    (void)port, (void)which, (void)bytes, (void)into, (void)got;
    return STATUS_NOT_IMPLEMENTED;
}
static NTSTATUS NTAPI port_key(Port *port, void **key, Object *outer, ULONG type, ULONG access, void *a, void *b, ULONG c, ULONG *d) {
    (void)port, (void)key, (void)outer, (void)type, (void)access, (void)a, (void)b, (void)c, (void)d;
    return STATUS_NOT_IMPLEMENTED;
}

NTSTATUS NTAPI PcNewPort(Port **out, const GUID *class) {
    static const PortTable table = {port_query, port_add, port_release, port_init, port_property, port_key};
    (void)class;
    Port *port = ExAllocatePoolWithTag(NonPagedPool, sizeof *port, 0x74726f50);
    if (!port)
        return STATUS_INSUFFICIENT_RESOURCES;
    port->table = &table;
    port->references = 1;
    *out = port;
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI PcRegisterSubdevice(DEVICE_OBJECT *device, const WCHAR *name, Object *port) {
    return name && *name ? hold(device, port) : STATUS_INVALID_PARAMETER;
}

NTSTATUS NTAPI PcRegisterPhysicalConnection(DEVICE_OBJECT *device, Object *from, ULONG from_pin, Object *to, ULONG to_pin) {
    (void)device, (void)from_pin, (void)to_pin;
    return from && to ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

NTSTATUS NTAPI PcRegisterAdapterPowerManagement(Object *adapter, DEVICE_OBJECT *device) { return hold(device, adapter); }

/* Loaded as a library of another driver. */
NTSTATUS NTAPI DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *path) {
    (void)driver, (void)path;
    return STATUS_SUCCESS;
}
