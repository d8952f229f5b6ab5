/* The I/O manager. One driver, and one device of a bus. */
#include "devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../c-host/check.h"
#include "doubles.h"
#include "text.h"

enum {
    MOST_DEVICES = 16,
    MOST_LINKS = 16,
    IO_TYPE_DEVICE = 3,
    IO_TYPE_DRIVER = 4,
    IO_TYPE_FILE = 5,
    IO_TYPE_IRP = 6,
    FILE_DEVICE_SECURE_OPEN = 0x100,
    BUFFER_ROOM = 1 << 20,
    UNWRITTEN = 0xcd,
};

/* The host's knowledge of a device. It lives until nobody has a handle of it. */
typedef struct {
    DEVICE_OBJECT *device;
    PVOID extension;
    char name[64];
    int handles;
    bool deleted;
    Descriptor security;
} Device;

typedef struct {
    bool used;
    char name[64], target[64];
} Link;

static Device devices[MOST_DEVICES];
static Link links[MOST_LINKS];
static DRIVER_OBJECT *driver;
static DRIVER_EXTENSION *extension;
static DRIVER_OBJECT *bus;
static DEVICE_OBJECT *physical;
static bool loaded, is_removed;
static const Image *driver_image;

/* ---- requests ---- */

/* One request at a time for each thread. From the moment of its completion on it is poison, and must still be so when the next one
 * begins: who looks at it then is wrong, and so is who writes. */
static _Thread_local IRP *irp;
static _Thread_local IO_STACK_LOCATION *stack;
static _Thread_local bool completed;
static _Thread_local IO_STATUS_BLOCK outcome;
static _Thread_local UCHAR *buffers;

static void take_requests(void) {
    if (irp != NULL) return;
    enum { STACKS = 3 };
    irp = pool_take(sizeof(IRP) + STACKS * sizeof(IO_STACK_LOCATION), "a request");
    stack = (IO_STACK_LOCATION *)(irp + 1);
    buffers = pool_take(BUFFER_ROOM, "a system buffer");
    memset(irp, UNWRITTEN, sizeof(IRP) + STACKS * sizeof(IO_STACK_LOCATION));
}

static void begin(UCHAR major, UCHAR minor, DEVICE_OBJECT *device, FILE_OBJECT *file) {
    take_requests();
    const UCHAR *bytes = (const UCHAR *)irp;
    for (size_t at = 0; at < sizeof(IRP) + sizeof *stack; at++)
        if (bytes[at] != UNWRITTEN) FATAL("a request was written to after it was completed, at offset %zu", at);
    memset(irp, 0, sizeof *irp);
    memset(stack, 0, sizeof *stack);
    irp->Type = IO_TYPE_IRP, irp->Size = sizeof *irp + sizeof *stack;
    irp->StackCount = 2, irp->CurrentLocation = 2;
    irp->RequestorMode = major == IRP_MJ_PNP ? 0 : 1;
    irp->IoStatus.Status = major == IRP_MJ_PNP ? STATUS_NOT_SUPPORTED : STATUS_SUCCESS;
    irp->Tail.Overlay.CurrentStackLocation = stack;
    irp->Tail.Overlay.OriginalFileObject = file;
    stack->MajorFunction = major, stack->MinorFunction = minor;
    stack->DeviceObject = device, stack->FileObject = file;
    completed = false;
}

/* Hands it to the driver and gives how it ended. */
static NTSTATUS send(DEVICE_OBJECT *device, ULONG_PTR *information) {
    DRIVER_DISPATCH *dispatch = device->DriverObject->MajorFunction[stack->MajorFunction];
    int major = stack->MajorFunction, minor = stack->MinorFunction;
    NTSTATUS returned = FROM_DRIVER(PASSIVE_LEVEL, dispatch(device, irp));
    if (!completed) FATAL("request %d/%d returns %#x and was not completed: whoever sent it waits for ever", major, minor, returned);
    NTSTATUS status = outcome.Status;
    CHECK(returned == status || returned == STATUS_PENDING, "request %d/%d returns %#x and is completed with %#x", major, minor, returned, status);
    CHECK(status != STATUS_PENDING, "request %d/%d is completed with STATUS_PENDING", major, minor);
    if (information != NULL) *information = outcome.Information;
    return status;
}

static void NTAPI IofCompleteRequest(IRP *request, CHAR boost) {
    (void)boost;
    AT_MOST(DISPATCH_LEVEL);
    if (request != irp) FATAL("IofCompleteRequest of a request that never was (from %s)", loader_where(__builtin_return_address(0)));
    if (completed) FATAL("a request is completed twice (from %s)", loader_where(__builtin_return_address(0)));
    CHECK(request->CancelRoutine == NULL, "a request is completed that can still be cancelled");
    completed = true;
    outcome = request->IoStatus;
    memset(irp, UNWRITTEN, sizeof *irp);
    memset(stack, UNWRITTEN, sizeof *stack);
}

/* What stands in the table for what a driver does not handle. */
static NTSTATUS NTAPI invalid_request(DEVICE_OBJECT *device, IRP *request) {
    (void)device;
    request->IoStatus.Status = STATUS_INVALID_DEVICE_REQUEST;
    IofCompleteRequest(request, 0);
    return STATUS_INVALID_DEVICE_REQUEST;
}

/* ---- devices ---- */

static Device *known(const DEVICE_OBJECT *device) {
    for (int at = 0; at < MOST_DEVICES; at++)
        if (devices[at].device != NULL && devices[at].device == device) return &devices[at];
    return NULL;
}

static Device *named(const char *name) {
    for (int at = 0; at < MOST_DEVICES; at++)
        if (devices[at].device != NULL && !devices[at].deleted && devices[at].name[0] != 0 && strcasecmp(devices[at].name, name) == 0) return &devices[at];
    return NULL;
}

static DEVICE_OBJECT *new_device(DRIVER_OBJECT *owner, ULONG extension_bytes, const char *name, ULONG type, ULONG characteristics) {
    int at = 0;
    while (at < MOST_DEVICES && devices[at].device != NULL) at++;
    if (at == MOST_DEVICES) FATAL("%d devices at once", MOST_DEVICES);
    DEVICE_OBJECT *device = pool_take(sizeof *device, "a device");
    memset(device, 0, sizeof *device);
    devices[at] = (Device){.device = device, .security = security_default()};
    if (extension_bytes > 0) {
        devices[at].extension = pool_take(extension_bytes, "a device's extension");
        memset(devices[at].extension, 0, extension_bytes);
    }
    snprintf(devices[at].name, sizeof devices[at].name, "%s", name);
    device->Type = IO_TYPE_DEVICE, device->Size = (USHORT)(sizeof *device + extension_bytes);
    device->DriverObject = owner;
    device->NextDevice = owner->DeviceObject, owner->DeviceObject = device;
    device->DeviceExtension = devices[at].extension;
    device->DeviceType = type, device->Characteristics = characteristics;
    device->StackSize = 1;
    device->Flags = DO_DEVICE_INITIALIZING;
    return device;
}

/* Nobody has it any more. */
static void free_device(Device *device) {
    DEVICE_OBJECT **at = &device->device->DriverObject->DeviceObject;
    while (*at != NULL && *at != device->device) at = &(*at)->NextDevice;
    if (*at != NULL) *at = device->device->NextDevice;
    if (device->extension != NULL) pool_give_back(device->extension, "a device's extension");
    pool_give_back(device->device, "a device");
    device->device = NULL;
}

static NTSTATUS NTAPI IoCreateDevice(DRIVER_OBJECT *owner, ULONG extension_bytes, const UNICODE_STRING *name, ULONG type, ULONG characteristics, BOOLEAN exclusive, DEVICE_OBJECT **created) {
    AT_MOST(APC_LEVEL);
    char text[64] = "";
    (void)exclusive;
    *created = NULL;
    if (FAILS) return STATUS_INSUFFICIENT_RESOURCES;
    if (name != NULL && !text_of(name, text, sizeof text)) return STATUS_OBJECT_NAME_INVALID;
    if (text[0] != 0 && named(text) != NULL) return STATUS_OBJECT_NAME_COLLISION;
    CHECK(owner == driver, "IoCreateDevice for a driver that is not the caller");
    if (text[0] != 0) CHECK(characteristics & FILE_DEVICE_SECURE_OPEN, "%s without FILE_DEVICE_SECURE_OPEN: %s\\anything goes round its access list", text, text);
    *created = new_device(owner, extension_bytes, text, type, characteristics);
    return STATUS_SUCCESS;
}

static void NTAPI IoDeleteDevice(DEVICE_OBJECT *device) {
    AT_MOST(APC_LEVEL);
    Device *found = known(device);
    if (found == NULL || found->deleted) FATAL("IoDeleteDevice of a device that is deleted or never was (from %s)", loader_where(__builtin_return_address(0)));
    CHECK(device->AttachedDevice == NULL, "a device is deleted while another is attached to it");
    found->deleted = true;
    if (found->handles == 0) free_device(found);
}

static NTSTATUS NTAPI IoCreateSymbolicLink(const UNICODE_STRING *name, const UNICODE_STRING *target) {
    AT_MOST(PASSIVE_LEVEL);
    Link *unused = NULL;
    char text[64];
    if (FAILS) return STATUS_INSUFFICIENT_RESOURCES;
    if (!text_of(name, text, sizeof text)) return STATUS_OBJECT_NAME_INVALID;
    for (int at = 0; at < MOST_LINKS; at++) {
        if (links[at].used && strcasecmp(links[at].name, text) == 0) return STATUS_OBJECT_NAME_COLLISION;
        if (!links[at].used && unused == NULL) unused = &links[at];
    }
    if (unused == NULL) FATAL("%d symbolic links at once", MOST_LINKS);
    *unused = (Link){.used = true};
    memcpy(unused->name, text, sizeof text);
    text_of(target, unused->target, sizeof unused->target);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI IoDeleteSymbolicLink(const UNICODE_STRING *name) {
    AT_MOST(PASSIVE_LEVEL);
    char text[64];
    if (!text_of(name, text, sizeof text)) return STATUS_OBJECT_NAME_INVALID;
    for (int at = 0; at < MOST_LINKS; at++)
        if (links[at].used && strcasecmp(links[at].name, text) == 0) {
            links[at].used = false;
            return STATUS_SUCCESS;
        }
    return STATUS_OBJECT_NAME_NOT_FOUND;
}

static DEVICE_OBJECT *NTAPI IoAttachDeviceToDeviceStack(DEVICE_OBJECT *device, DEVICE_OBJECT *below) {
    AT_MOST(DISPATCH_LEVEL);
    while (below->AttachedDevice != NULL) below = below->AttachedDevice;
    below->AttachedDevice = device;
    device->StackSize = (CHAR)(below->StackSize + 1);
    return below;
}

static void NTAPI IoDetachDevice(DEVICE_OBJECT *below) {
    AT_MOST(PASSIVE_LEVEL);
    CHECK(below->AttachedDevice != NULL, "IoDetachDevice of a device that nothing is attached to");
    below->AttachedDevice = NULL;
}

DEVICE_OBJECT *devices_new_function(DRIVER_OBJECT *owner, DEVICE_OBJECT *below, ULONG extension_bytes) {
    enum { FILE_DEVICE_KS = 0x2f };
    DEVICE_OBJECT *device = new_device(owner, extension_bytes, "", FILE_DEVICE_KS, FILE_DEVICE_SECURE_OPEN);
    IoAttachDeviceToDeviceStack(device, below);
    device->Flags = 0;
    return device;
}

void devices_delete_function(DEVICE_OBJECT *device) {
    for (int at = 0; at < MOST_DEVICES; at++)
        if (devices[at].device != NULL && devices[at].device->AttachedDevice == device) IoDetachDevice(devices[at].device);
    IoDeleteDevice(device);
}

Descriptor *devices_security(DEVICE_OBJECT *device) {
    Device *found = known(device);
    return found != NULL ? &found->security : NULL;
}

void devices_complete(IRP *request, NTSTATUS status) {
    request->IoStatus.Status = status;
    IofCompleteRequest(request, 0);
}

/* ---- the driver ---- */

static DRIVER_OBJECT *new_driver(void) {
    DRIVER_OBJECT *object = pool_take(sizeof *object, "the driver's object");
    memset(object, 0, sizeof *object);
    object->Type = IO_TYPE_DRIVER, object->Size = sizeof *object;
    for (int major = 0; major < MAJOR_FUNCTIONS; major++) object->MajorFunction[major] = invalid_request;
    return object;
}

DRIVER_OBJECT *driver_object(void) { return driver; }

NTSTATUS driver_start(const Image *image) {
    static WCHAR path[] = u"\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Services\\TrueMute", name[] = u"\\Driver\\TrueMute";
    driver_image = image;
    driver = new_driver();
    bus = new_driver();
    extension = pool_take(sizeof *extension, "the driver's extension");
    memset(extension, 0, sizeof *extension);
    extension->DriverObject = driver;
    driver->DriverExtension = extension;
    driver->DriverStart = image->base, driver->DriverSize = (ULONG)image->size;
    driver->DriverInit = image->entry;
    driver->DriverName = (UNICODE_STRING){sizeof name - 2, sizeof name, name};
    UNICODE_STRING registry = {sizeof path - 2, sizeof path, path};
    loaded = true;
    NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, image->entry(driver, &registry));
    loader_discard(image);
    for (int at = 0; at < MOST_DEVICES; at++)
        if (devices[at].device != NULL) devices[at].device->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
    if (!succeeded(status)) {
        devices_check_empty();
        loaded = false;
    }
    return status;
}

NTSTATUS driver_add_device(void) {
    CHECK(extension->AddDevice != NULL, "the driver has no AddDevice");
    if (extension->AddDevice == NULL) return STATUS_NOT_SUPPORTED;
    physical = new_device(bus, 0, "", 0x22, 0);
    is_removed = false;
    NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, extension->AddDevice(driver, physical));
    if (succeeded(status)) CHECK(physical->AttachedDevice != NULL, "AddDevice attaches no device");
    else driver_forget_device();
    return status;
}

DEVICE_OBJECT *driver_stack(void) { return physical != NULL ? physical->AttachedDevice : NULL; }

NTSTATUS driver_pnp(UCHAR minor) {
    DEVICE_OBJECT *top = driver_stack();
    if (top == NULL) return STATUS_NO_SUCH_DEVICE;
    begin(IRP_MJ_PNP, minor, top, NULL);
    return send(top, NULL);
}

NTSTATUS driver_request(UCHAR major) {
    static FILE_OBJECT file = {.Type = IO_TYPE_FILE, .Size = sizeof(FILE_OBJECT)};
    DEVICE_OBJECT *top = driver_stack();
    if (top == NULL) return STATUS_NO_SUCH_DEVICE;
    file.DeviceObject = top;
    begin(major, 0, top, &file);
    return send(top, NULL);
}

void driver_forget_device(void) {
    Device *found = known(physical);
    CHECK(physical->AttachedDevice == NULL, "the driver's device is still attached to the one that is gone");
    physical = NULL;
    if (found != NULL) free_device(found);
}

bool driver_unload(void) {
    if (!loaded) return false;
    if (driver->DeviceObject != NULL) return false;
    CHECK(driver->DriverUnload != NULL, "the driver cannot be unloaded");
    if (driver->DriverUnload == NULL) return false;
    INTO_DRIVER(PASSIVE_LEVEL, driver->DriverUnload(driver));
    loaded = false;
    devices_check_empty();
    loader_unload(driver_image);
    return true;
}

void devices_check_empty(void) {
    for (int at = 0; at < MOST_DEVICES; at++) CHECK(devices[at].device == NULL || devices[at].device == physical, "the driver leaves device \"%s\"", devices[at].name);
    for (int at = 0; at < MOST_LINKS; at++) CHECK(!links[at].used, "the driver leaves the name %s", links[at].name);
}

/* ---- handles ---- */

/* \\.\NAME is \??\NAME, which finds \DosDevices\NAME and \DosDevices\Global\NAME. */
static Device *resolve(const char *name) {
    static const char *const folders[] = {"\\DosDevices\\", "\\??\\", "\\DosDevices\\Global\\", "\\GLOBAL??\\"};
    char full[128];
    for (unsigned folder = 0; folder < 4; folder++) {
        snprintf(full, sizeof full, "%s%s", folders[folder], name);
        for (int at = 0; at < MOST_LINKS; at++)
            if (links[at].used && strcasecmp(links[at].name, full) == 0) return named(links[at].target);
    }
    return NULL;
}

NTSTATUS handle_open(const char *name, const Token *token, ULONG access, Handle *handle) {
    Device *found = resolve(name);
    *handle = (Handle){0};
    if (found == NULL) return STATUS_OBJECT_NAME_NOT_FOUND;
    if (found->device->Flags & DO_DEVICE_INITIALIZING) return STATUS_NO_SUCH_DEVICE;
    if (!security_allows(&found->security, token, access)) return STATUS_ACCESS_DENIED;
    FILE_OBJECT *file = pool_take(sizeof *file, "a file");
    memset(file, 0, sizeof *file);
    file->Type = IO_TYPE_FILE, file->Size = sizeof *file;
    file->DeviceObject = found->device;
    file->ReadAccess = (access & FILE_READ_DATA) != 0, file->WriteAccess = (access & FILE_WRITE_DATA) != 0;
    ACCESS_STATE state = {.PreviouslyGrantedAccess = access, .OriginalDesiredAccess = access};
    state.SubjectSecurityContext.PrimaryToken = (PVOID)(uintptr_t)token;
    IO_SECURITY_CONTEXT context = {.AccessState = &state, .DesiredAccess = access};
    found->handles++;
    begin(IRP_MJ_CREATE, 0, found->device, file);
    stack->Parameters.Create.SecurityContext = &context;
    stack->Parameters.Create.Options = 1 << 24;
    const Token *before = security_set_caller(token);
    NTSTATUS status = send(found->device, NULL);
    security_set_caller(before);
    *handle = (Handle){file, found->device, token, true};
    if (!succeeded(status)) {
        /* The handle never was: there is neither CLEANUP nor CLOSE. */
        found->handles--;
        pool_give_back(file, "a file");
        *handle = (Handle){0};
    }
    return status;
}

NTSTATUS handle_cleanup(Handle *handle) {
    begin(IRP_MJ_CLEANUP, 0, handle->device, handle->file);
    handle->open = false;
    return send(handle->device, NULL);
}

NTSTATUS handle_close(Handle *handle) {
    Device *found = known(handle->device);
    begin(IRP_MJ_CLOSE, 0, handle->device, handle->file);
    NTSTATUS status = send(handle->device, NULL);
    pool_give_back(handle->file, "a file");
    *handle = (Handle){0};
    if (--found->handles == 0 && found->deleted) free_device(found);
    return status;
}

NTSTATUS handle_other(const Handle *handle, UCHAR major) {
    ULONG_PTR information = 0;
    begin(major, 0, handle->device, handle->file);
    NTSTATUS status = send(handle->device, &information);
    CHECK(information == 0, "a request with major function %u says that it gave %llu bytes", major, (unsigned long long)information);
    return status;
}

/* A request may not come to be: the I/O manager asks here before, in the thread and with the buffers of whoever asks. */
static bool is_fast(const Handle *handle, ULONG code, const void *input, ULONG input_bytes, void *output, ULONG output_bytes, IO_STATUS_BLOCK *status) {
    const FAST_IO_DISPATCH *table = handle->device->DriverObject->FastIoDispatch;
    if (table == NULL || table->SizeOfFastIoDispatch <= offsetof(FAST_IO_DISPATCH, FastIoDeviceControl) || table->FastIoDeviceControl == NULL) return false;
    return FROM_DRIVER(PASSIVE_LEVEL, table->FastIoDeviceControl(handle->file, true, (PVOID)(uintptr_t)input, input_bytes, output, output_bytes, code, status, handle->device));
}

NTSTATUS handle_control_unchecked(const Handle *handle, ULONG code, const void *input, ULONG input_bytes, void *output, ULONG output_bytes, ULONG *given) {
    ULONG room = input_bytes > output_bytes ? input_bytes : output_bytes;
    if (room > BUFFER_ROOM) FATAL("a request of %u bytes", room);
    IO_STATUS_BLOCK fast = {0};
    if (is_fast(handle, code, input, input_bytes, output, output_bytes, &fast)) {
        *given = (ULONG)fast.Information;
        return fast.Status;
    }
    begin(IRP_MJ_DEVICE_CONTROL, 0, handle->device, handle->file);
    stack->Parameters.DeviceIoControl.IoControlCode = code;
    stack->Parameters.DeviceIoControl.InputBufferLength = input_bytes;
    stack->Parameters.DeviceIoControl.OutputBufferLength = output_bytes;
    /* At the end of its pages, as near as pool's alignment lets it be: one byte further is nobody's, or seen below. */
    ULONG slack = (16 - room % 16) % 16;
    UCHAR *buffer = buffers + BUFFER_ROOM - slack - room;
    irp->SystemBuffer = room > 0 ? buffer : NULL;
    irp->UserBuffer = output;
    if (input_bytes > 0) memcpy(buffer, input, input_bytes);
    memset(buffer + input_bytes, UNWRITTEN, room - input_bytes + slack);
    const Token *before = security_set_caller(handle->token);
    ULONG_PTR information = 0;
    NTSTATUS status = send(handle->device, &information);
    security_set_caller(before);
    for (ULONG at = 0; at < slack; at++) CHECK(buffer[room + at] == UNWRITTEN, "request %#x writes beyond its buffer", code);
    if (!CHECK(information <= output_bytes, "request %#x says that it gave %llu bytes of %u", code, (unsigned long long)information, output_bytes)) information = 0;
    /* Errors give nothing; warnings (0x8...) do. */
    if ((ULONG)status >> 30 == 3) {
        CHECK(information == 0, "request %#x fails with %#x and says that it gave %llu bytes", code, status, (unsigned long long)information);
        information = 0;
    }
    for (ULONG at = input_bytes, run = 0; at < information; at++) {
        run = buffer[at] == UNWRITTEN ? run + 1 : 0;
        if (run == 4) CHECK(false, "request %#x gives bytes that it never wrote, at %u", code, at - 3);
    }
    if (information > 0) memcpy(output, buffer, information);
    *given = (ULONG)information;
    return status;
}

NTSTATUS handle_control(const Handle *handle, ULONG code, const void *input, ULONG input_bytes, void *output, ULONG output_bytes, ULONG *given) {
    bool reads = code >> 14 & 1, writes = code >> 15 & 1;
    *given = 0;
    if (!handle->open) return STATUS_INVALID_HANDLE;
    if ((reads && !handle->file->ReadAccess) || (writes && !handle->file->WriteAccess)) return STATUS_ACCESS_DENIED;
    return handle_control_unchecked(handle, code, input, input_bytes, output, output_bytes, given);
}

const Export device_exports[] = {
    EXPORT(KERNEL, IofCompleteRequest),
    EXPORT(KERNEL, IoCreateDevice),
    EXPORT(KERNEL, IoDeleteDevice),
    EXPORT(KERNEL, IoCreateSymbolicLink),
    EXPORT(KERNEL, IoDeleteSymbolicLink),
    END_OF_EXPORTS,
};
