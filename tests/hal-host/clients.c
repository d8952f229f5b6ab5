/* Clients as coreaudiod brings them: in order, twice, unmatched, gone without a word, many at once. And the clock that they go by. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../c-host/check.h"
#include "parts.h"

enum { PERIOD = 16384, RATE = 48000, THREADS = 8, ROUNDS = 400 };

static DriverRef driver;
static AudioObjectID device, stream;

static UInt64 now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (UInt64)now.tv_sec * 1000000000u + (UInt64)now.tv_nsec;
}

static bool is_running(void) {
    AudioObjectPropertyAddress address = {CODE('g', 'o', 'i', 'n'), kScopeGlobal, 0};
    UInt32 size = 0, running = 7;
    OSStatus status = (*driver)->GetPropertyData(driver, device, 0, &address, 0, NULL, 4, &size, &running);
    CHECK(status == noErr && running <= 1, "whether the device runs: %s, %u", code_text((UInt32)status), running);
    return running == 1;
}

static AudioServerPlugInClientInfo client(UInt32 id) {
    char bundle[64];
    snprintf(bundle, sizeof bundle, "org.example.client-%u", id);
    AudioServerPlugInClientInfo info = {id, 1000 + (SInt32)id, 1, CFStringCreateWithCString(NULL, bundle, kCFStringEncodingUTF8)};
    return info;
}

/* The plug-in must retain the bundle's name itself: this program lets go of it as soon as the call returns. */
static OSStatus add(UInt32 id) {
    AudioServerPlugInClientInfo info = client(id);
    OSStatus status = (*driver)->AddDeviceClient(driver, device, &info);
    CFRelease(info.mBundleID);
    return status;
}

static OSStatus take_away(UInt32 id) {
    AudioServerPlugInClientInfo info = client(id);
    OSStatus status = (*driver)->RemoveDeviceClient(driver, device, &info);
    CFRelease(info.mBundleID);
    return status;
}

/* Reads into a poisoned buffer. True: every byte of it is zero, and nothing beyond it was touched. */
static bool reads_zeros(UInt32 id, Float64 sample, UInt32 frames) {
    enum { MOST = 4096 };
    static _Thread_local UInt8 buffer[MOST * 8 + 64];
    AudioServerPlugInIOCycleInfo cycle = {.mIOCycleCounter = 1, .mNominalIOBufferFrameSize = frames};
    cycle.mInputTime.mSampleTime = sample;
    cycle.mInputTime.mHostTime = now_ns();
    cycle.mInputTime.mFlags = 3;
    cycle.mCurrentTime = cycle.mInputTime;
    memset(buffer, 0xff, sizeof buffer);
    CHECK((*driver)->BeginIOOperation(driver, device, id, kOperationReadInput, frames, &cycle) == noErr, "BeginIOOperation");
    OSStatus status = (*driver)->DoIOOperation(driver, device, stream, id, kOperationReadInput, frames, &cycle, buffer, NULL);
    CHECK((*driver)->EndIOOperation(driver, device, id, kOperationReadInput, frames, &cycle) == noErr, "EndIOOperation");
    if (!CHECK(status == noErr, "ReadInput of %u frames at %f: %s", frames, sample, code_text((UInt32)status))) return false;
    for (size_t at = 0; at < (size_t)frames * 8; at++)
        if (!CHECK(buffer[at] == 0, "ReadInput of %u frames at %f leaves %02x at byte %zu", frames, sample, buffer[at], at)) return false;
    for (size_t at = (size_t)frames * 8; at < (size_t)frames * 8 + 64; at++)
        if (!CHECK(buffer[at] == 0xff, "ReadInput of %u frames writes beyond them", frames)) return false;
    return true;
}

static void check_orders(void) {
    CHECK(!is_running(), "the device runs before anybody started it");
    CHECK(add(7) == noErr && !is_running(), "a client that is only there makes the device run");
    CHECK((*driver)->StartIO(driver, device, 7) == noErr && is_running(), "StartIO does not start");
    CHECK((*driver)->StartIO(driver, device, 7) == noErr && is_running(), "a second StartIO of a client fails");
    CHECK(add(8) == noErr && (*driver)->StartIO(driver, device, 8) == noErr, "a second client cannot start");
    CHECK((*driver)->StopIO(driver, device, 7) == noErr && is_running(), "one client's StopIO stops the other");
    CHECK((*driver)->StopIO(driver, device, 7) == noErr && is_running(), "an unmatched StopIO stops the other client or fails");
    CHECK((*driver)->StopIO(driver, device, 999) == noErr && is_running(), "StopIO of nobody stops a client or fails");
    CHECK(take_away(8) == noErr && !is_running(), "a client that vanished while it ran keeps the device running");
    CHECK(take_away(8) == noErr, "a client that is gone already cannot go again");
    CHECK(take_away(12345) == noErr, "a client that never came cannot go");
    CHECK((*driver)->StartIO(driver, device, 0) == noErr && is_running(), "the host itself (client 0) cannot start");
    CHECK((*driver)->StopIO(driver, device, 0) == noErr && !is_running(), "the host itself cannot stop");
    CHECK(add(7) == noErr && add(7) == noErr, "a client that comes twice without going is refused");
    CHECK(take_away(7) == noErr && !is_running(), "the client of the beginning cannot go");
}

static void check_names_are_kept(void) {
    long before = foundation_live();
    for (UInt32 id = 100; id < 164; id++) add(id);
    for (UInt32 id = 100; id < 164; id++) take_away(id);
    CHECK(foundation_live() <= before + 64, "%ld objects stay behind 64 clients that went", foundation_live() - before);
    for (int round = 0; round < 20; round++)
        for (UInt32 id = 200; id < 232; id++) add(id), take_away(id);
    CHECK(foundation_live() <= before + 64, "objects of clients that went pile up: %ld", foundation_live() - before);
}

/* Muted, as it is without an agent: whatever the position, zeros, and exactly so many as were asked for. */
static void check_silence(void) {
    add(7);
    (*driver)->StartIO(driver, device, 7);
    const Float64 samples[] = {0, 1, -1, -16384, 1e6, 2147483647.0, 4294967295.0, 4294967296.0, 9007199254740992.0, 1e18, 1.8e19, 1e300, -1e300, 0.5, NAN, INFINITY, -INFINITY};
    const UInt32 sizes[] = {0, 1, 15, 64, 512, 1024, 4096};
    for (unsigned at = 0; at < sizeof samples / sizeof samples[0]; at++)
        for (unsigned size = 0; size < sizeof sizes / sizeof sizes[0]; size++) reads_zeros(7, samples[at], sizes[size]);
    reads_zeros(4242, 1000, 512);
    reads_zeros(0, 1000, 512);
    (*driver)->StopIO(driver, device, 7);
    reads_zeros(7, 1000, 512);
    take_away(7);
    reads_zeros(7, 1000, 512);
}

typedef struct {
    Float64 sample;
    UInt64 host, seed;
} Stamp;

static Stamp stamp(void) {
    Stamp stamp = {-1, 0, 0};
    OSStatus status = (*driver)->GetZeroTimeStamp(driver, device, 7, &stamp.sample, &stamp.host, &stamp.seed);
    CHECK(status == noErr, "GetZeroTimeStamp: %s", code_text((UInt32)status));
    return stamp;
}

static void check_stamp(Stamp first) {
    UInt64 before = now_ns();
    Stamp next = stamp();
    UInt64 after = now_ns();
    UInt64 period_ns = (UInt64)PERIOD * 1000000000u / RATE;
    CHECK(next.seed == first.seed, "the seed changes while the clock runs");
    CHECK(fmod(next.sample, PERIOD) == 0 && next.sample >= first.sample, "sample time %f is no boundary, or earlier than before", next.sample);
    CHECK(next.host <= after, "a zero time stamp of the future");
    CHECK(next.host + period_ns + 1000 >= before, "a zero time stamp that is older than a period: %llu ns", (unsigned long long)(before - next.host));
    double frames = next.sample - first.sample, ns = (double)next.host - (double)first.host;
    CHECK(fabs(frames * 1e9 / RATE - ns) <= 2, "%f frames in %f ns", frames, ns);
}

static void check_clock(void) {
    add(7);
    (*driver)->StartIO(driver, device, 7);
    Stamp first = stamp();
    for (int times = 0; times < 1000; times++) check_stamp(first);
    /* A host that was held up for three periods: the next stamp is the latest boundary, not the one after the last. */
    struct timespec stall = {1, 50000000};
    nanosleep(&stall, NULL);
    check_stamp(first);
    Stamp later = stamp();
    CHECK(later.sample >= first.sample + 3 * PERIOD, "after a stall of 1.05 s the clock went on by %f frames", later.sample - first.sample);
    (*driver)->StopIO(driver, device, 7);
    (*driver)->StartIO(driver, device, 7);
    CHECK(stamp().seed != first.seed, "a new time line has the seed of the old one");
    (*driver)->StopIO(driver, device, 7);
    take_away(7);
}

static UInt32 next_random(UInt32 *state) {
    *state ^= *state << 13, *state ^= *state >> 17, *state ^= *state << 5;
    return *state;
}

/* One thread's clients do everything in no order. The ids of two threads overlap by half. */
static void *crowd(void *words) {
    UInt32 thread = (UInt32)(uintptr_t)words, random = 0x9e3779b9u * (thread + 1);
    for (int round = 0; round < ROUNDS; round++) {
        UInt32 id = 1000 + thread * 8 + next_random(&random) % 16;
        UInt32 size = 0, list[8];
        AudioObjectPropertyAddress address = {CODE('s', 't', 'm', '#'), kScopeInput, 0};
        switch (next_random(&random) % 7) {
        case 0: CHECK(add(id) == noErr, "AddDeviceClient in a crowd"); break;
        case 1: CHECK(take_away(id) == noErr, "RemoveDeviceClient in a crowd"); break;
        case 2: CHECK((*driver)->StartIO(driver, device, id) == noErr, "StartIO in a crowd"); break;
        case 3: CHECK((*driver)->StopIO(driver, device, id) == noErr, "StopIO in a crowd"); break;
        case 4: CHECK((*driver)->GetPropertyData(driver, device, 0, &address, 0, NULL, sizeof list, &size, list) == noErr, "a property in a crowd"); break;
        default: reads_zeros(id, round * 512.0, 512); break;
        }
    }
    for (UInt32 id = 1000 + thread * 8; id < 1000 + thread * 8 + 16; id++) take_away(id);
    return NULL;
}

static void check_crowd(void) {
    pthread_t threads[THREADS];
    for (uintptr_t at = 0; at < THREADS; at++) pthread_create(&threads[at], NULL, crowd, (void *)at);
    for (int at = 0; at < THREADS; at++) pthread_join(threads[at], NULL);
    for (UInt32 id = 1000; id < 1000 + THREADS * 8 + 16; id++) take_away(id);
    CHECK(!is_running(), "the device still runs after everybody has gone");
}

void check_clients(Factory factory) {
    driver = plugin_open(factory);
    device = plugin_device(driver), stream = plugin_stream(driver, device);
    check_orders();
    check_names_are_kept();
    check_silence();
    check_clock();
    check_crowd();
}
