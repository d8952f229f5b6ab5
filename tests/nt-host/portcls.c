/* The port class: an adapter's device, ports, subdevices, and what plug and play does to them. */
#include "portcls.h"

#include <stdio.h>
#include <stdlib.h>

#include "../c-host/check.h"
#include "devices.h"
#include "doubles.h"

typedef NTSTATUS NTAPI START_DEVICE(DEVICE_OBJECT *device, IRP *irp, PVOID resources);

enum { MOST_PORTS = 8, PORT_CLASS_EXTENSION = 64 * 8 };

static Port ports[MOST_PORTS];
static Subdevice subdevices[MOST_SUBDEVICES];
static int subdevice_count;
static Connection connections[MOST_CONNECTIONS];
static int connection_count;
static DEVICE_OBJECT *function;
static START_DEVICE *start_device;
static ULONG most_objects;
static bool started;
static IAdapterPowerManagement *power;
static long requests;

const Subdevice *portcls_subdevices(int *count) {
    *count = subdevice_count;
    return subdevices;
}

const Connection *portcls_connections(int *count) {
    *count = connection_count;
    return connections;
}

Port *portcls_wave(void) {
    for (int at = 0; at < subdevice_count; at++)
        if (subdevices[at].port->is_wave) return subdevices[at].port;
    return NULL;
}

long portcls_requests(void) { return requests; }

/* ---- resources: a device without hardware has none ---- */

INTERFACE(IResourceList,
    ULONG (NTAPI *NumberOfEntries)(IResourceList *self);
    ULONG (NTAPI *NumberOfEntriesOfType)(IResourceList *self, UCHAR type);
    PVOID (NTAPI *FindTranslatedEntry)(IResourceList *self, UCHAR type, ULONG at);
    PVOID (NTAPI *FindUntranslatedEntry)(IResourceList *self, UCHAR type, ULONG at);
    NTSTATUS (NTAPI *AddEntry)(IResourceList *self, PVOID translated, PVOID untranslated);
    NTSTATUS (NTAPI *AddEntryFromParent)(IResourceList *self, IResourceList *parent, UCHAR type, ULONG at);
    PVOID (NTAPI *TranslatedList)(IResourceList *self);
    PVOID (NTAPI *UntranslatedList)(IResourceList *self);)

static LONG resource_references;
static NTSTATUS NTAPI resource_query(IResourceList *self, const GUID *id, PVOID *found) {
    (void)id;
    resource_references++;
    *found = self;
    return STATUS_SUCCESS;
}
static ULONG NTAPI resource_add(IResourceList *self) { return (void)self, (ULONG)++resource_references; }
static ULONG NTAPI resource_release(IResourceList *self) { return (void)self, (ULONG)--resource_references; }
static ULONG NTAPI no_entries(IResourceList *self) { return (void)self, 0; }
static ULONG NTAPI no_entries_of_type(IResourceList *self, UCHAR type) { return (void)self, (void)type, 0; }
static const IResourceListTable resource_table = {.QueryInterface = resource_query, .AddRef = resource_add, .Release = resource_release, .NumberOfEntries = no_entries, .NumberOfEntriesOfType = no_entries_of_type};
static IResourceList resources = {&resource_table};

/* ---- ports ---- */

#define PORT_OF(pointer, member) ((Port *)(void *)((UCHAR *)(pointer) - offsetof(Port, member)))

static NTSTATUS NTAPI port_query(IPort *self, const GUID *id, PVOID *found) {
    Port *port = PORT_OF(self, port);
    AT_MOST(PASSIVE_LEVEL);
    *found = NULL;
    if (guid_is(id, IID_IUnknown) || guid_is(id, IID_IPort) || (port->is_wave ? guid_is(id, IID_IPortWaveRT) : guid_is(id, IID_IPortTopology))) *found = &port->port;
    if (*found == NULL) return STATUS_INVALID_PARAMETER;
    port->references++;
    return STATUS_SUCCESS;
}

static ULONG NTAPI port_add(IPort *self) { return (ULONG)++PORT_OF(self, port)->references; }

static ULONG release_port(Port *port) {
    CHECK(port->references > 0, "Release of a port that is gone");
    ULONG left = (ULONG)--port->references;
    if (left > 0) return left;
    if (port->miniport != NULL) INTO_DRIVER(PASSIVE_LEVEL, port->miniport->table->Release(port->miniport));
    port->used = false;
    return 0;
}

static ULONG NTAPI port_release(IPort *self) {
    AT_MOST(PASSIVE_LEVEL);
    return release_port(PORT_OF(self, port));
}

NTSTATUS portcls_power(bool on) {
    /* DEVICE_POWER_STATE of wdm.h. */
    enum { D0 = 1, D3 = 4 };
    if (power == NULL) return STATUS_NOT_SUPPORTED;
    NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, power->table->QueryPowerChangeState(power, on ? D0 : D3));
    if (succeeded(status)) INTO_DRIVER(PASSIVE_LEVEL, power->table->PowerChangeState(power, on ? D0 : D3));
    return status;
}

static NTSTATUS NTAPI IPort_Init(IPort *self, DEVICE_OBJECT *device, IRP *irp, IUnknown *unknown, IUnknown *adapter, PVOID list) {
    Port *port = PORT_OF(self, port);
    AT_MOST(PASSIVE_LEVEL);
    if (FAILS) return STATUS_INSUFFICIENT_RESOURCES;
    CHECK(device == function && irp != NULL && unknown != NULL && list != NULL, "a port's Init for device %p, request %p, miniport %p, resources %p", (void *)device, (void *)irp, (void *)unknown, list);
    const GUID kind = port->is_wave ? IID_IMiniportWaveRT : IID_IMiniportTopology;
    PVOID found = NULL;
    NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, unknown->table->QueryInterface(unknown, &kind, &found));
    if (!succeeded(status)) return status;
    port->miniport = found, port->device = device;
    if (port->is_wave) {
        IMiniportWaveRT *wave = found;
        status = FROM_DRIVER(PASSIVE_LEVEL, wave->table->Init(wave, adapter, list, self));
    } else {
        IMiniportTopology *topology = found;
        status = FROM_DRIVER(PASSIVE_LEVEL, topology->table->Init(topology, adapter, list, self));
    }
    if (!succeeded(status)) {
        INTO_DRIVER(PASSIVE_LEVEL, port->miniport->table->Release(port->miniport));
        port->miniport = NULL;
    }
    return status;
}

static NTSTATUS NTAPI port_property(IPort *self, int property, ULONG bytes, PVOID buffer, ULONG *length) { return (void)self, (void)property, (void)bytes, (void)buffer, (void)length, STATUS_NOT_FOUND; }
static NTSTATUS NTAPI port_key(IPort *self, PVOID *key, IUnknown *outer, ULONG type, ULONG access, PVOID attributes, ULONG options, ULONG *disposition) {
    return (void)self, (void)key, (void)outer, (void)type, (void)access, (void)attributes, (void)options, (void)disposition, STATUS_NOT_FOUND;
}
static const IPortTable port_table = {port_query, port_add, port_release, IPort_Init, port_property, port_key};

static Port *port_of(IUnknown *unknown) {
    for (int at = 0; at < MOST_PORTS; at++)
        if (ports[at].used && (void *)unknown == (void *)&ports[at].port) return &ports[at];
    FATAL("a port is handed over that is none");
}

static void remove_subdevice(int at) {
    Port *port = subdevices[at].port;
    memmove(&subdevices[at], &subdevices[at + 1], (size_t)(--subdevice_count - at) * sizeof subdevices[0]);
    release_port(port);
}

static void remove_connection(int at) {
    Connection gone = connections[at];
    memmove(&connections[at], &connections[at + 1], (size_t)(--connection_count - at) * sizeof connections[0]);
    release_port(gone.from);
    release_port(gone.to);
}

/* ---- the adapter ---- */

/* Everything that plug and play took: subdevices, the connection, power management. */
static void forget_subdevices(void) {
    while (connection_count > 0) remove_connection(0);
    while (subdevice_count > 0) remove_subdevice(0);
    if (power != NULL) INTO_DRIVER(PASSIVE_LEVEL, power->table->Release(power));
    power = NULL;
    started = false;
}

static NTSTATUS plug_and_play(IRP *irp) {
    NTSTATUS status = STATUS_SUCCESS;
    UCHAR minor = irp->Tail.Overlay.CurrentStackLocation->MinorFunction;
    if (minor == IRP_MN_START_DEVICE) {
        status = FROM_DRIVER(PASSIVE_LEVEL, start_device(function, irp, &resources));
        started = succeeded(status);
        if (!started) forget_subdevices();
    } else if (minor == IRP_MN_STOP_DEVICE || minor == IRP_MN_SURPRISE_REMOVAL) {
        if (minor == IRP_MN_STOP_DEVICE) forget_subdevices();
    } else if (minor == IRP_MN_REMOVE_DEVICE) {
        forget_subdevices();
        devices_complete(irp, status);
        devices_delete_function(function);
        function = NULL;
        return status;
    }
    devices_complete(irp, status);
    return status;
}

static NTSTATUS dispatch_of_port_class(DEVICE_OBJECT *device, IRP *irp) {
    if (device != function) FATAL("the port class gets a request for a device that is none of its own: it would take its extension for one");
    UCHAR major = irp->Tail.Overlay.CurrentStackLocation->MajorFunction;
    if (major == IRP_MJ_PNP) return plug_and_play(irp);
    requests++;
    devices_complete(irp, STATUS_SUCCESS);
    return STATUS_SUCCESS;
}

/* ---- what the driver calls ---- */

static NTSTATUS NTAPI PcDispatchIrp(DEVICE_OBJECT *device, IRP *irp) {
    AT_MOST(DISPATCH_LEVEL);
    return dispatch_of_port_class(device, irp);
}

static NTSTATUS NTAPI handle_request(DEVICE_OBJECT *device, IRP *irp) { return dispatch_of_port_class(device, irp); }

static void NTAPI unload_nothing(DRIVER_OBJECT *driver) { (void)driver; }

/* For audio devices, whose extension this would read. */
static BOOLEAN NTAPI fast_control(FILE_OBJECT *file, BOOLEAN wait, PVOID input, ULONG input_bytes, PVOID output, ULONG output_bytes, ULONG code, IO_STATUS_BLOCK *status, DEVICE_OBJECT *device) {
    (void)file, (void)wait, (void)input, (void)input_bytes, (void)output, (void)output_bytes, (void)status;
    if (device != function) FATAL("the port class gets a fast call (%#x) for a device that is none of its own: it would take its extension for one", code);
    return false;
}

static NTSTATUS NTAPI PcInitializeAdapterDriver(DRIVER_OBJECT *driver, UNICODE_STRING *registry, DRIVER_ADD_DEVICE *add_device) {
    AT_MOST(PASSIVE_LEVEL);
    CHECK(registry != NULL && add_device != NULL, "PcInitializeAdapterDriver without a path or AddDevice");
    const int majors[] = {IRP_MJ_CREATE, IRP_MJ_CLOSE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_POWER, IRP_MJ_SYSTEM_CONTROL, IRP_MJ_PNP};
    for (unsigned at = 0; at < sizeof majors / sizeof majors[0]; at++) driver->MajorFunction[majors[at]] = handle_request;
    driver->DriverExtension->AddDevice = add_device;
    driver->DriverUnload = unload_nothing;
    static FAST_IO_DISPATCH fast = {.SizeOfFastIoDispatch = sizeof fast, .FastIoDeviceControl = fast_control};
    driver->FastIoDispatch = &fast;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI PcAddAdapterDevice(DRIVER_OBJECT *driver, DEVICE_OBJECT *physical, START_DEVICE *start, ULONG objects, ULONG extension_bytes) {
    AT_MOST(PASSIVE_LEVEL);
    if (FAILS) return STATUS_INSUFFICIENT_RESOURCES;
    CHECK(function == NULL, "a second adapter device");
    CHECK(extension_bytes == 0 || extension_bytes >= PORT_CLASS_EXTENSION, "PcAddAdapterDevice with an extension of %u bytes, of which the port class takes %d", extension_bytes, PORT_CLASS_EXTENSION);
    CHECK(objects > 0 && start != NULL, "PcAddAdapterDevice for %u subdevices", objects);
    start_device = start, most_objects = objects;
    function = devices_new_function(driver, physical, extension_bytes > 0 ? extension_bytes : PORT_CLASS_EXTENSION);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI PcNewPort(IPort **created, const GUID *class) {
    AT_MOST(PASSIVE_LEVEL);
    bool is_wave = guid_is(class, CLSID_PortWaveRT);
    *created = NULL;
    if (FAILS) return STATUS_INSUFFICIENT_RESOURCES;
    if (!CHECK(is_wave || guid_is(class, CLSID_PortTopology), "PcNewPort of a class that this host does not know")) return STATUS_NOT_SUPPORTED;
    for (int at = 0; at < MOST_PORTS; at++)
        if (!ports[at].used) {
            ports[at] = (Port){.port = {&port_table}, .references = 1, .is_wave = is_wave, .used = true};
            *created = &ports[at].port;
            return STATUS_SUCCESS;
        }
    return STATUS_INSUFFICIENT_RESOURCES;
}

static NTSTATUS NTAPI PcRegisterSubdevice(DEVICE_OBJECT *device, const WCHAR *name, IUnknown *unknown) {
    AT_MOST(PASSIVE_LEVEL);
    Port *port = port_of(unknown);
    if (FAILS) return STATUS_INSUFFICIENT_RESOURCES;
    CHECK(device == function, "a subdevice of a device that is no adapter");
    CHECK(port->miniport != NULL, "a subdevice whose port has no miniport");
    if (!CHECK((ULONG)subdevice_count < most_objects && subdevice_count < MOST_SUBDEVICES, "more subdevices than the %u that AddDevice announced", most_objects)) return STATUS_INSUFFICIENT_RESOURCES;
    Subdevice *subdevice = &subdevices[subdevice_count++];
    size_t at = 0;
    for (; name[at] != 0 && at < sizeof subdevice->name - 1; at++) subdevice->name[at] = (char)name[at];
    subdevice->name[at] = 0;
    subdevice->port = port;
    port->references++;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI PcRegisterPhysicalConnection(DEVICE_OBJECT *device, IUnknown *from, ULONG from_pin, IUnknown *to, ULONG to_pin) {
    AT_MOST(PASSIVE_LEVEL);
    if (FAILS) return STATUS_INSUFFICIENT_RESOURCES;
    CHECK(device == function && connection_count < MOST_CONNECTIONS, "a physical connection of another device");
    Connection *connection = &connections[connection_count++];
    *connection = (Connection){port_of(from), port_of(to), from_pin, to_pin};
    connection->from->references++, connection->to->references++;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI PcRegisterAdapterPowerManagement(IUnknown *unknown, DEVICE_OBJECT *device) {
    AT_MOST(PASSIVE_LEVEL);
    if (FAILS) return STATUS_INSUFFICIENT_RESOURCES;
    CHECK(device == function && power == NULL, "power management of another device, or twice");
    PVOID found = NULL;
    const GUID id = IID_IAdapterPowerManagement;
    NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, unknown->table->QueryInterface(unknown, &id, &found));
    if (succeeded(status)) power = found;
    return status;
}

void portcls_check_empty(void) {
    for (int at = 0; at < MOST_PORTS; at++) CHECK(!ports[at].used, "leak: %ld references to a port", (long)ports[at].references);
    CHECK(resource_references <= 0, "leak: %d references to the resource list", resource_references);
    CHECK(function == NULL, "the adapter's device is still there");
}

static const char portcls[] = "portcls.sys";
const Export portcls_exports[] = {
    EXPORT(portcls, PcDispatchIrp),
    EXPORT(portcls, PcInitializeAdapterDriver),
    EXPORT(portcls, PcAddAdapterDevice),
    EXPORT(portcls, PcNewPort),
    EXPORT(portcls, PcRegisterSubdevice),
    EXPORT(portcls, PcRegisterPhysicalConnection),
    EXPORT(portcls, PcRegisterAdapterPowerManagement),
    END_OF_EXPORTS,
};
