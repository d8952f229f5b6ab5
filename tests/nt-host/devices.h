/* The I/O manager: the driver's object, its devices and names, handles and requests. */
#ifndef TRUEMUTE_NT_HOST_DEVICES_H
#define TRUEMUTE_NT_HOST_DEVICES_H

#include "loader.h"
#include "nt.h"
#include "security.h"

enum { FILE_READ_DATA = 1, FILE_WRITE_DATA = 2 };

/* Runs DriverEntry, as for a driver that is called like its file. */
NTSTATUS driver_start(const Image *image);
DRIVER_OBJECT *driver_object(void);
/* Plug and play: tells the driver of its device and gives a stack of two. */
NTSTATUS driver_add_device(void);
/* The top of the device's stack; NULL without one. */
DEVICE_OBJECT *driver_stack(void);
/* Sends a request of plug and play to it. */
NTSTATUS driver_pnp(UCHAR minor);
/* Sends it any other request. */
NTSTATUS driver_request(UCHAR major);
/* The bus forgets the device, after REMOVE_DEVICE. */
void driver_forget_device(void);
/* Unloads the driver if nothing of it is left, as Windows does; otherwise it is told at the last handle's end. */
bool driver_unload(void);

typedef struct {
    FILE_OBJECT *file;
    DEVICE_OBJECT *device;
    const Token *token;
    bool open;
} Handle;

/* What CreateFile(\\.\NAME) does. */
NTSTATUS handle_open(const char *name, const Token *token, ULONG access, Handle *handle);
/* The process has no handle any more. */
NTSTATUS handle_cleanup(Handle *handle);
/* Nobody has a reference any more. */
NTSTATUS handle_close(Handle *handle);
/* What DeviceIoControl does. `given` gets how many bytes of `output` were written. */
NTSTATUS handle_control(const Handle *handle, ULONG code, const void *input, ULONG input_bytes, void *output, ULONG output_bytes, ULONG *given);
/* The same without any look at the handle's rights, as a driver in the kernel could ask. */
NTSTATUS handle_control_unchecked(const Handle *handle, ULONG code, const void *input, ULONG input_bytes, void *output, ULONG output_bytes, ULONG *given);

/* Any other request than those, with this major function. */
NTSTATUS handle_other(const Handle *handle, UCHAR major);

/* Leaves of the driver: devices, names. Each is a failed check. */
void devices_check_empty(void);

#endif
