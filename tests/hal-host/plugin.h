/* The plug-in under test: loaded, made by its factory, initialized. And how a selector or a status reads. */
#ifndef TRUEMUTE_HAL_HOST_PLUGIN_H
#define TRUEMUTE_HAL_HOST_PLUGIN_H

#include "coreaudio.h"

typedef void *(*Factory)(CFAllocatorRef, CFTypeRef type);

/* Loads the shared object and finds its factory; ends the program where it cannot. */
Factory plugin_load(const char *path, const char *factory);
/* Factory, QueryInterface for the driver's interface, Initialize with this program's host interface. */
DriverRef plugin_open(Factory factory);

CFTypeRef plugin_uuid(const char *text);
extern const char *const PLUGIN_TYPE, *const DRIVER_INTERFACE, *const UNKNOWN_INTERFACE;

/* What the plug-in called on its host so far. */
long plugin_notifications(void);
long plugin_configuration_requests(void);

/* The device that the plug-in lists, and that device's one stream; 0 where it lists not exactly one. */
AudioObjectID plugin_device(DriverRef driver);
AudioObjectID plugin_stream(DriverRef driver, AudioObjectID device);

/* `1/glob/0/clas`, in one of a few buffers that take turns. */
const char *address_text(AudioObjectID object, const AudioObjectPropertyAddress *address);
/* Four characters or a number, likewise. */
const char *code_text(UInt32 code);

#endif
