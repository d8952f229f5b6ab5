/* The object itself: COM's three methods, the factory, and what is asked of objects that there are not. */
#include <string.h>

#include "../c-host/check.h"
#include "parts.h"

static HRESULT query(DriverRef driver, const char *text, void **found) {
    CFTypeRef uuid = plugin_uuid(text);
    HRESULT result = (*driver)->QueryInterface(driver, CFUUIDGetUUIDBytes(uuid), found);
    CFRelease(uuid);
    return result;
}

static void check_factory(Factory factory) {
    CFTypeRef wrong = plugin_uuid("12345678-1234-1234-1234-123456789ABC");
    CHECK(factory(NULL, wrong) == NULL, "the factory makes something for a type that is not the HAL's");
    CHECK(factory(NULL, NULL) == NULL, "the factory makes something for no type");
    CFRelease(wrong);
}

static void check_references(Factory factory) {
    CFTypeRef type = plugin_uuid(PLUGIN_TYPE);
    DriverRef driver = factory(NULL, type);
    CFRelease(type);
    if (!CHECK(driver != NULL, "the factory makes nothing")) return;
    ULONG before = (*driver)->AddRef(driver);
    CHECK((*driver)->AddRef(driver) == before + 1, "AddRef does not count up");
    CHECK((*driver)->Release(driver) == before, "Release does not count down");
    const char *known[] = {UNKNOWN_INTERFACE, DRIVER_INTERFACE};
    for (int at = 0; at < 2; at++) {
        void *found = NULL;
        CHECK(query(driver, known[at], &found) == S_OK && found != NULL, "QueryInterface does not know %s", known[at]);
        if (found != NULL) CHECK((*driver)->Release(driver) == before, "QueryInterface for %s does not count up by one", known[at]);
    }
    void *found = &found;
    CHECK(query(driver, "12345678-1234-1234-1234-123456789ABC", &found) == E_NOINTERFACE, "QueryInterface finds what there is not");
    CHECK(found == NULL, "QueryInterface leaves something behind where it finds nothing");
    CHECK(query(driver, DRIVER_INTERFACE, NULL) != S_OK, "QueryInterface accepts no place for its answer");
    /* Down to nothing and beyond: the object is the process's only one and must outlive a host that counts badly. */
    for (int times = 0; times < 4; times++) (*driver)->Release(driver);
    (*driver)->AddRef(driver);
    CHECK(query(driver, DRIVER_INTERFACE, &found) == S_OK, "the plug-in is gone after more releases than references");
}

/* A read that is refused: the host may deliver its buffer all the same, so there must be zeros in it. */
static void check_refused_read(DriverRef driver, AudioObjectID device, AudioObjectID stream, const char *what, AudioObjectID object) {
    AudioServerPlugInIOCycleInfo cycle = {.mIOCycleCounter = 1, .mNominalIOBufferFrameSize = 64};
    float buffer[2 * 64 + 2];
    memset(buffer, 0xff, sizeof buffer);
    CHECK((*driver)->DoIOOperation(driver, device, stream, 5, kOperationReadInput, 64, &cycle, buffer, NULL) ==
              kAudioHardwareBadObjectError, "DoIOOperation of %s %u", what, object);
    const UInt8 *bytes = (const UInt8 *)buffer;
    for (unsigned at = 0; at < 64 * 8; at++)
        if (!CHECK(bytes[at] == 0, "a refused read of %s %u leaves something at byte %u", what, object, at)) break;
    for (unsigned at = 64 * 8; at < sizeof buffer; at++)
        if (!CHECK(bytes[at] == 0xff, "a refused read of %s %u writes beyond its frames", what, object)) break;
}

/* Every method with an object that is not a driver's device, a driver that is none, and no place for answers. */
static void check_bad_objects(DriverRef driver, AudioObjectID device, AudioObjectID stream) {
    const AudioObjectID bad[] = {0, 99, 0xffffffff};
    AudioServerPlugInClientInfo info = {5, 1234, 1, NULL};
    AudioServerPlugInIOCycleInfo cycle = {.mIOCycleCounter = 1, .mNominalIOBufferFrameSize = 64};
    Float64 sample;
    UInt64 host, seed;
    Boolean will, in_place;
    for (unsigned at = 0; at < sizeof bad / sizeof bad[0]; at++) {
        AudioObjectID object = bad[at];
        AudioObjectPropertyAddress address = {CODE('c', 'l', 'a', 's'), kScopeGlobal, 0};
        UInt32 size = 0, value = 0;
        CHECK(!(*driver)->HasProperty(driver, object, 0, &address), "object %u has a class", object);
        CHECK((*driver)->GetPropertyDataSize(driver, object, 0, &address, 0, NULL, &size) == kAudioHardwareBadObjectError,
              "the size of a property of object %u", object);
        CHECK((*driver)->GetPropertyData(driver, object, 0, &address, 0, NULL, 4, &size, &value) == kAudioHardwareBadObjectError,
              "a property of object %u", object);
        CHECK((*driver)->SetPropertyData(driver, object, 0, &address, 0, NULL, 4, &value) == kAudioHardwareBadObjectError,
              "setting a property of object %u", object);
        CHECK((*driver)->AddDeviceClient(driver, object, &info) == kAudioHardwareBadObjectError, "a client of object %u", object);
        CHECK((*driver)->RemoveDeviceClient(driver, object, &info) == kAudioHardwareBadObjectError, "a client of object %u", object);
        CHECK((*driver)->StartIO(driver, object, 5) == kAudioHardwareBadObjectError, "StartIO of object %u", object);
        CHECK((*driver)->StopIO(driver, object, 5) == kAudioHardwareBadObjectError, "StopIO of object %u", object);
        CHECK((*driver)->GetZeroTimeStamp(driver, object, 5, &sample, &host, &seed) == kAudioHardwareBadObjectError,
              "GetZeroTimeStamp of object %u", object);
        CHECK((*driver)->WillDoIOOperation(driver, object, 5, kOperationReadInput, &will, &in_place) == kAudioHardwareBadObjectError,
              "WillDoIOOperation of object %u", object);
        CHECK((*driver)->BeginIOOperation(driver, object, 5, kOperationReadInput, 64, &cycle) == kAudioHardwareBadObjectError,
              "BeginIOOperation of object %u", object);
        CHECK((*driver)->EndIOOperation(driver, object, 5, kOperationReadInput, 64, &cycle) == kAudioHardwareBadObjectError,
              "EndIOOperation of object %u", object);
        check_refused_read(driver, object, stream, "device", object);
        check_refused_read(driver, device, object, "stream", object);
        CHECK((*driver)->PerformDeviceConfigurationChange(driver, object, 0, NULL) == kAudioHardwareBadObjectError,
              "a configuration change of object %u", object);
        CHECK((*driver)->AbortDeviceConfigurationChange(driver, object, 0, NULL) == kAudioHardwareBadObjectError,
              "an aborted configuration change of object %u", object);
    }
    AudioObjectID made = 0;
    CHECK((*driver)->CreateDevice(driver, NULL, &info, &made) == kAudioHardwareUnsupportedOperationError && made == 0,
          "the plug-in makes devices on demand");
    CHECK((*driver)->DestroyDevice(driver, device) == kAudioHardwareUnsupportedOperationError, "the device can be destroyed");
}

static void check_missing_places(DriverRef driver, AudioObjectID device, AudioObjectID stream) {
    AudioObjectPropertyAddress address = {CODE('c', 'l', 'a', 's'), kScopeGlobal, 0};
    AudioServerPlugInIOCycleInfo cycle = {.mIOCycleCounter = 1, .mNominalIOBufferFrameSize = 64};
    UInt32 size = 0, value = 0;
    Boolean will = 0;
    Float64 sample;
    UInt64 host;
    float buffer[128];
    CHECK(!(*driver)->HasProperty(driver, device, 0, NULL), "HasProperty without an address");
    CHECK((*driver)->IsPropertySettable(driver, device, 0, &address, NULL) != noErr, "IsPropertySettable without a place");
    CHECK((*driver)->IsPropertySettable(driver, device, 0, NULL, &will) != noErr, "IsPropertySettable without an address");
    CHECK((*driver)->GetPropertyDataSize(driver, device, 0, &address, 0, NULL, NULL) != noErr, "GetPropertyDataSize without a place");
    CHECK((*driver)->GetPropertyData(driver, device, 0, &address, 0, NULL, 4, NULL, &value) != noErr, "GetPropertyData without a size");
    CHECK((*driver)->GetPropertyData(driver, device, 0, &address, 0, NULL, 4, &size, NULL) != noErr, "GetPropertyData without a place");
    CHECK((*driver)->GetPropertyData(driver, device, 0, NULL, 0, NULL, 4, &size, &value) != noErr, "GetPropertyData without an address");
    CHECK((*driver)->SetPropertyData(driver, device, 0, &address, 0, NULL, 4, NULL) != noErr, "SetPropertyData without data");
    CHECK((*driver)->AddDeviceClient(driver, device, NULL) != noErr, "AddDeviceClient without a client");
    CHECK((*driver)->RemoveDeviceClient(driver, device, NULL) != noErr, "RemoveDeviceClient without a client");
    CHECK((*driver)->GetZeroTimeStamp(driver, device, 5, &sample, &host, NULL) != noErr, "GetZeroTimeStamp without a place");
    CHECK((*driver)->WillDoIOOperation(driver, device, 5, kOperationReadInput, NULL, &will) != noErr, "WillDoIOOperation without a place");
    CHECK((*driver)->WillDoIOOperation(driver, device, 5, kOperationReadInput, &will, NULL) != noErr, "WillDoIOOperation with one place");
    CHECK((*driver)->DoIOOperation(driver, device, stream, 5, kOperationReadInput, 64, &cycle, NULL, NULL) != noErr,
          "ReadInput without a buffer");
    /* Without a position there is nothing to read, but the buffer is the host's already: zeros, or nothing done. */
    memset(buffer, 0xff, sizeof buffer);
    OSStatus status = (*driver)->DoIOOperation(driver, device, stream, 5, kOperationReadInput, 64, NULL, buffer, NULL);
    for (unsigned at = 0; status == noErr && at < sizeof buffer; at++)
        if (!CHECK(((UInt8 *)buffer)[at] == 0, "ReadInput without a cycle leaves something at byte %u", at)) break;
}

/* A driver reference that is not the plug-in's. Initialize a second time. */
static void check_strangers(DriverRef driver, AudioObjectID device) {
    DriverInterface copy = **driver;
    DriverInterface *strange = &copy;
    AudioObjectPropertyAddress address = {CODE('c', 'l', 'a', 's'), kScopeGlobal, 0};
    UInt32 size = 0, value = 0;
    CHECK((*driver)->GetPropertyData(&strange, device, 0, &address, 0, NULL, 4, &size, &value) == kAudioHardwareBadObjectError,
          "a driver that is none is answered");
    CHECK((*driver)->Initialize(&strange, NULL) == kAudioHardwareBadObjectError, "a driver that is none is initialized");
    CHECK(!(*driver)->HasProperty(NULL, device, 0, &address), "no driver has properties");
    CHECK((*driver)->StartIO(NULL, device, 5) == kAudioHardwareBadObjectError, "no driver starts");
}

static void check_operations(DriverRef driver, AudioObjectID device) {
    const UInt32 operations[] = {kOperationThread,       kOperationCycle,         kOperationReadInput, kOperationConvertInput,
                                 kOperationProcessInput, kOperationProcessOutput, kOperationMixOutput, kOperationProcessMix,
                                 kOperationConvertMix,   kOperationWriteMix,      0,                   0xffffffff};
    for (unsigned at = 0; at < sizeof operations / sizeof operations[0]; at++) {
        Boolean will = 7, in_place = 7;
        OSStatus status = (*driver)->WillDoIOOperation(driver, device, 5, operations[at], &will, &in_place);
        Boolean wanted = operations[at] == kOperationReadInput;
        CHECK(status == noErr && will == wanted, "WillDoIOOperation of %s: %d", code_text(operations[at]), will);
        CHECK(!wanted || in_place == 1, "ReadInput is not in place");
    }
}

void check_interface(Factory factory) {
    check_factory(factory);
    check_references(factory);
    DriverRef driver = plugin_open(factory);
    AudioObjectID device = plugin_device(driver), stream = plugin_stream(driver, device);
    check_operations(driver, device);
    check_bad_objects(driver, device, stream);
    check_missing_places(driver, device, stream);
    check_strangers(driver, device);
    CHECK(plugin_configuration_requests() == 0, "the plug-in asks for a change of a device that never changes");
}
