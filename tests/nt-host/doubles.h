/* The doubles of a kernel, a file each: the tables by which the loader finds them, and what they need of each other. */
#ifndef TRUEMUTE_NT_HOST_DOUBLES_H
#define TRUEMUTE_NT_HOST_DOUBLES_H

#include "machine.h"
#include "security.h"

extern const Export device_exports[], security_exports[], text_exports[], portcls_exports[];

/* The access list of a device; NULL if it is none. */
Descriptor *devices_security(DEVICE_OBJECT *device);
/* A port class's device on top of the bus's, and its end. */
DEVICE_OBJECT *devices_new_function(DRIVER_OBJECT *owner, DEVICE_OBJECT *below, ULONG extension_bytes);
void devices_delete_function(DEVICE_OBJECT *device);
void devices_complete(IRP *request, NTSTATUS status);

/* What the driver left behind; each is a failed check. */
void security_check_empty(void);
void portcls_check_empty(void);

#endif
