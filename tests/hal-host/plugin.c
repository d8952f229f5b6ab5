/* Loading, and the host interface that the plug-in is given: it counts calls, and keeps nothing in its storage. */
#include "plugin.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../c-host/check.h"

const char *const PLUGIN_TYPE = "443ABAB8-E7B3-491A-B985-BEB9187030DB";
const char *const DRIVER_INTERFACE = "EEA5773D-CC43-49F1-8E00-8F96E7D23B17";
const char *const UNKNOWN_INTERFACE = "00000000-0000-0000-C000-000000000046";

static atomic_long notifications, configuration_requests;

static OSStatus properties_changed(HostRef host, AudioObjectID object, UInt32 count, const AudioObjectPropertyAddress *addresses) {
    (void)host, (void)object;
    CHECK(count > 0 && addresses != NULL, "PropertiesChanged without a property");
    notifications++;
    return noErr;
}

static OSStatus copy_from_storage(HostRef host, CFTypeRef key, CFTypeRef *data) {
    (void)host;
    CFGetTypeID(key);
    *data = NULL;
    return kAudioHardwareUnknownPropertyError;
}

static OSStatus write_to_storage(HostRef host, CFTypeRef key, CFTypeRef data) {
    (void)host;
    CFGetTypeID(key), CFGetTypeID(data);
    return noErr;
}

static OSStatus delete_from_storage(HostRef host, CFTypeRef key) {
    (void)host;
    CFGetTypeID(key);
    return noErr;
}

static OSStatus request_configuration_change(HostRef host, AudioObjectID device, UInt64 action, void *info) {
    (void)host, (void)device, (void)action, (void)info;
    configuration_requests++;
    return noErr;
}

static const HostInterface host = {properties_changed, copy_from_storage, write_to_storage, delete_from_storage,
                                   request_configuration_change};

long plugin_notifications(void) { return notifications; }
long plugin_configuration_requests(void) { return configuration_requests; }

Factory plugin_load(const char *path, const char *name) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        printf("FAILED to load: %s\n", dlerror());
        exit(1);
    }
    Factory factory;
    *(void **)&factory = dlsym(library, name);
    if (factory == NULL) {
        printf("FAILED to find the factory %s: %s\n", name, dlerror());
        exit(1);
    }
    return factory;
}

CFTypeRef plugin_uuid(const char *text) {
    CFUUIDBytes uuid;
    size_t at = 0;
    for (const char *digit = text; *digit != 0 && at < sizeof uuid.bytes; digit++) {
        if (*digit == '-') continue;
        unsigned byte;
        sscanf(digit++, "%2x", &byte);
        uuid.bytes[at++] = (UInt8)byte;
    }
    return CFUUIDCreateFromUUIDBytes(NULL, uuid);
}

DriverRef plugin_open(Factory factory) {
    CFTypeRef type = plugin_uuid(PLUGIN_TYPE), interface = plugin_uuid(DRIVER_INTERFACE);
    DriverRef made = factory(NULL, type), driver = NULL;
    if (!CHECK(made != NULL, "the factory makes nothing for the plug-in type")) exit(check_end());
    HRESULT found = (*made)->QueryInterface(made, CFUUIDGetUUIDBytes(interface), (void **)&driver);
    if (!CHECK(found == S_OK && driver != NULL, "QueryInterface for the driver: %d", found)) exit(check_end());
    (*made)->Release(made);
    CFRelease(type), CFRelease(interface);
    OSStatus status = (*driver)->Initialize(driver, &host);
    if (!CHECK(status == noErr, "Initialize: %s", code_text((UInt32)status))) exit(check_end());
    return driver;
}

static AudioObjectID only_one(DriverRef driver, AudioObjectID owner, UInt32 selector, UInt32 scope) {
    AudioObjectPropertyAddress address = {selector, scope, 0};
    AudioObjectID found[4] = {0};
    UInt32 size = 0;
    OSStatus status = (*driver)->GetPropertyData(driver, owner, 0, &address, 0, NULL, sizeof found, &size, found);
    CHECK(status == noErr && size == sizeof found[0], "%s lists %u bytes, status %s; one object is wanted",
          address_text(owner, &address), size, code_text((UInt32)status));
    return status == noErr && size == sizeof found[0] ? found[0] : 0;
}

AudioObjectID plugin_device(DriverRef driver) {
    return only_one(driver, kPlugInObject, CODE('d', 'e', 'v', '#'), kScopeGlobal);
}

AudioObjectID plugin_stream(DriverRef driver, AudioObjectID device) {
    return only_one(driver, device, CODE('s', 't', 'm', '#'), kScopeInput);
}

static char *next_buffer(void) {
    static _Thread_local char buffers[8][64];
    static _Thread_local unsigned turn;
    return buffers[turn++ % 8];
}

const char *code_text(UInt32 code) {
    char *text = next_buffer();
    char letters[5] = {(char)(code >> 24), (char)(code >> 16), (char)(code >> 8), (char)code, 0};
    bool readable = true;
    for (int at = 0; at < 4; at++) readable &= isprint((unsigned char)letters[at]) != 0;
    if (readable) snprintf(text, 64, "'%s'", letters);
    else snprintf(text, 64, "%d", (SInt32)code);
    return text;
}

const char *address_text(AudioObjectID object, const AudioObjectPropertyAddress *address) {
    char *text = next_buffer();
    snprintf(text, 64, "%u/%s/%u/%s", object, code_text(address->mScope), address->mElement, code_text(address->mSelector));
    return text;
}
