/* A conversation: each line read is done, each is answered by one line of JSON. Somebody else feeds the plug-in meanwhile and says
 * what is to be expected; this program looks at every frame itself.
 *
 * The sound that is expected is a ramp: the left sample at sample time t is (t mod 2^23) + 1, the right one is a tag that the
 * feeder chooses, never 0. So every frame tells where it belongs and from which stretch of feeding it comes.
 *
 *     add ID PID BUNDLE | remove ID | start ID | stop ID
 *     stamp ID                            -> sample, host_ns, seed, now_ns
 *     read ID FROM FRAMES TIMES [STEP]    -> TIMES reads of FRAMES frames, from sample time FROM on in steps of STEP
 *     time CLIENTS FROM ROUNDS           -> nanoseconds of a read, of memcpy, memset and the clock, and rounds that were live
 *     diag | socket                       -> plist: the custom property that is a property list, or a text, as XML
 *     get OBJECT SCOPE SELECTOR IS_CF     -> there, status, size, needed, data: as hex, or as XML
 *     raw ID FROM FRAMES                  -> statuses, bytes (as hex, with 64 behind the frames), calls of the host
 *     quit */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../c-host/check.h"
#include "parts.h"

enum { MOST_FRAMES = 4096, MOST_TAGS = 16 };

static DriverRef driver;
static AudioObjectID device, stream;

typedef struct {
    /* Reads that were all zeros, all ramp, both, or had a frame that is neither. */
    long silent, live, mixed, foreign;
    long failed;
    Float32 tags[MOST_TAGS];
    int tag_count;
    SInt64 first_live, last_live;
} Heard;

/* `stretch`: the tag of the read's frames so far, 0 before the first. Two in one read are two pieces sewn together. */
static void hear_frame(Heard *heard, SInt64 at, const Float32 frame[2], Float32 *stretch, bool *any_silent, bool *any_foreign) {
    static const UInt8 zeros[8];
    if (memcmp(frame, zeros, 8) == 0) {
        *any_silent = true;
        return;
    }
    Float32 expected = (Float32)((at & 0x7fffff) + 1);
    bool sewn = *stretch != 0 && frame[1] != *stretch;
    if (memcmp(&expected, &frame[0], 4) != 0 || frame[1] == 0 || sewn) {
        *any_foreign = true;
        return;
    }
    *stretch = frame[1];
    if (heard->first_live < 0) heard->first_live = at;
    heard->last_live = at;
    for (int tag = 0; tag < heard->tag_count; tag++)
        if (heard->tags[tag] == frame[1]) return;
    if (heard->tag_count < MOST_TAGS) heard->tags[heard->tag_count++] = frame[1];
}

static void read_once(Heard *heard, UInt32 id, SInt64 from, UInt32 frames) {
    static Float32 buffer[(MOST_FRAMES + 8) * 2];
    AudioServerPlugInIOCycleInfo cycle = {.mIOCycleCounter = 1, .mNominalIOBufferFrameSize = frames};
    cycle.mInputTime.mSampleTime = (Float64)from;
    cycle.mInputTime.mFlags = 3;
    memset(buffer, 0xff, sizeof buffer);
    (*driver)->BeginIOOperation(driver, device, id, kOperationReadInput, frames, &cycle);
    OSStatus status = (*driver)->DoIOOperation(driver, device, stream, id, kOperationReadInput, frames, &cycle, buffer, NULL);
    (*driver)->EndIOOperation(driver, device, id, kOperationReadInput, frames, &cycle);
    if (status != noErr) {
        heard->failed++;
        return;
    }
    const UInt8 *behind = (const UInt8 *)&buffer[frames * 2];
    for (int at = 0; at < 64; at++) CHECK(behind[at] == 0xff, "ReadInput writes beyond its frames");
    bool any_silent = false, any_foreign = false;
    Float32 stretch = 0;
    for (UInt32 at = 0; at < frames; at++) hear_frame(heard, from + at, &buffer[at * 2], &stretch, &any_silent, &any_foreign);
    bool any_live = stretch != 0;
    if (any_foreign) heard->foreign++;
    else if (any_live && any_silent) heard->mixed++;
    else if (any_live) heard->live++;
    else heard->silent++;
}

static void answer_read(UInt32 id, SInt64 from, UInt32 frames, long times, SInt64 step) {
    Heard heard = {.first_live = -1, .last_live = -1};
    for (long time = 0; time < times; time++) read_once(&heard, id, from + time * step, frames);
    printf("{\"silent\":%ld,\"live\":%ld,\"mixed\":%ld,\"foreign\":%ld,\"failed\":%ld,\"first_live\":%lld,\"last_live\":%lld,\"tags\":[",
           heard.silent, heard.live, heard.mixed, heard.foreign, heard.failed, (long long)heard.first_live, (long long)heard.last_live);
    for (int tag = 0; tag < heard.tag_count; tag++) printf("%s%.9g", tag > 0 ? "," : "", (double)heard.tags[tag]);
    printf("]}\n");
}

static void answer_status(OSStatus status) { printf("{\"status\":%d}\n", status); }

static void answer_client(const char *verb, UInt32 id, SInt32 pid, const char *bundle) {
    AudioServerPlugInClientInfo info = {id, pid, 1, CFStringCreateWithCString(NULL, bundle, kCFStringEncodingUTF8)};
    if (strcmp(verb, "add") == 0) answer_status((*driver)->AddDeviceClient(driver, device, &info));
    else answer_status((*driver)->RemoveDeviceClient(driver, device, &info));
    CFRelease(info.mBundleID);
}

static void answer_stamp(UInt32 id) {
    Float64 sample = 0;
    UInt64 at = 0, seed = 0;
    OSStatus status = (*driver)->GetZeroTimeStamp(driver, device, id, &sample, &at, &seed);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("{\"status\":%d,\"sample\":%.0f,\"host_ns\":%llu,\"seed\":%llu,\"now_ns\":%llu}\n", status, sample, (unsigned long long)at,
           (unsigned long long)seed, (unsigned long long)now.tv_sec * 1000000000u + (unsigned long long)now.tv_nsec);
}

/* The custom property that the device lists with this type of data. */
static CFTypeRef custom(UInt32 type, OSStatus *status) {
    AudioObjectPropertyAddress list = {CODE('c', 'u', 's', 't'), kScopeGlobal, 0};
    AudioServerPlugInCustomPropertyInfo infos[4] = {0};
    UInt32 size = 0;
    CFTypeRef found = NULL;
    *status = (*driver)->GetPropertyData(driver, device, 0, &list, 0, NULL, sizeof infos, &size, infos);
    for (UInt32 at = 0; *status == noErr && at < size / sizeof infos[0]; at++) {
        if (infos[at].mPropertyDataType != type) continue;
        AudioObjectPropertyAddress address = {infos[at].mSelector, kScopeGlobal, 0};
        *status = (*driver)->GetPropertyData(driver, device, 0, &address, 0, NULL, sizeof found, &size, &found);
        return found;
    }
    CHECK(false, "no custom property of type %s is listed", code_text(type));
    return NULL;
}

static void answer_custom(UInt32 type) {
    OSStatus status;
    CFTypeRef found = custom(type, &status);
    if (status != noErr || found == NULL) {
        answer_status(status);
        return;
    }
    char *text = foundation_property_list(found);
    printf("{\"plist\":\"%s\"}\n", text);
    free(text);
    CFRelease(found);
}

static void print_hex(const UInt8 *bytes, UInt32 count) {
    for (UInt32 at = 0; at < count; at++) printf("%02x", bytes[at]);
}

/* All that a client sees of one property. */
static void answer_get(AudioObjectID object, UInt32 scope, UInt32 selector, bool is_object) {
    static UInt8 data[4096];
    AudioObjectPropertyAddress address = {selector, scope, 0};
    CFTypeRef qualifier = CFStringCreateWithCString(NULL, "no such device", kCFStringEncodingUTF8);
    UInt32 size = 0, needed = 0;
    Boolean there = (*driver)->HasProperty(driver, object, 0, &address);
    (*driver)->GetPropertyDataSize(driver, object, 0, &address, sizeof qualifier, &qualifier, &needed);
    OSStatus status = (*driver)->GetPropertyData(driver, object, 0, &address, sizeof qualifier, &qualifier, sizeof data, &size, data);
    printf("{\"there\":%d,\"status\":%d,\"size\":%u,\"needed\":%u,\"data\":\"", there, status, size, needed);
    CFTypeRef found = NULL;
    if (status == noErr && is_object) {
        memcpy(&found, data, sizeof found);
        char *text = foundation_property_list(found);
        printf("%s", text);
        free(text);
        CFRelease(found);
    } else if (status == noErr) print_hex(data, size);
    printf("\"}\n");
    CFRelease(qualifier);
}

/* All that a client sees of one read, with what lies behind its frames. */
static void answer_raw(UInt32 id, SInt64 from, UInt32 frames) {
    static UInt8 buffer[(MOST_FRAMES + 8) * 8];
    AudioServerPlugInIOCycleInfo cycle = {.mIOCycleCounter = 1, .mNominalIOBufferFrameSize = frames};
    cycle.mInputTime.mSampleTime = (Float64)from;
    memset(buffer, 0xff, sizeof buffer);
    OSStatus begun = (*driver)->BeginIOOperation(driver, device, id, kOperationReadInput, frames, &cycle);
    OSStatus done = (*driver)->DoIOOperation(driver, device, stream, id, kOperationReadInput, frames, &cycle, buffer, NULL);
    OSStatus ended = (*driver)->EndIOOperation(driver, device, id, kOperationReadInput, frames, &cycle);
    printf("{\"statuses\":[%d,%d,%d],\"bytes\":\"", begun, done, ended);
    print_hex(buffer, (frames + 8) * 8);
    printf("\",\"notifications\":%ld,\"requests\":%ld}\n", plugin_notifications(), plugin_configuration_requests());
}

static void answer(char *line) {
    char verb[16] = "", bundle[128] = "";
    long long first = 0, second = 0, third = 0, fourth = 0, fifth = 0;
    sscanf(line, "%15s", verb);
    if (strcmp(verb, "add") == 0 || strcmp(verb, "remove") == 0) {
        sscanf(line, "%*s %lld %lld %127s", &first, &second, bundle);
        answer_client(verb, (UInt32)first, (SInt32)second, bundle);
    } else if (strcmp(verb, "start") == 0 && sscanf(line, "%*s %lld", &first) == 1) {
        answer_status((*driver)->StartIO(driver, device, (UInt32)first));
    } else if (strcmp(verb, "stop") == 0 && sscanf(line, "%*s %lld", &first) == 1) {
        answer_status((*driver)->StopIO(driver, device, (UInt32)first));
    } else if (strcmp(verb, "stamp") == 0 && sscanf(line, "%*s %lld", &first) == 1) {
        answer_stamp((UInt32)first);
    } else if (strcmp(verb, "read") == 0) {
        int words = sscanf(line, "%*s %lld %lld %lld %lld %lld", &first, &second, &third, &fourth, &fifth);
        if (words < 4 || third < 0 || third > MOST_FRAMES) printf("{\"error\":\"read ID FROM FRAMES TIMES [STEP]\"}\n");
        else answer_read((UInt32)first, second, (UInt32)third, (long)fourth, words == 5 ? fifth : third);
    } else if (strcmp(verb, "time") == 0 && sscanf(line, "%*s %lld %lld %lld", &first, &second, &third) == 3) {
        answer_timing(driver, device, stream, (UInt32)first, second, (int)third);
    } else if (strcmp(verb, "diag") == 0) {
        answer_custom(CODE('p', 'l', 's', 't'));
    } else if (strcmp(verb, "socket") == 0) {
        answer_custom(CODE('c', 'f', 's', 't'));
    } else if (strcmp(verb, "get") == 0) {
        sscanf(line, "%*s %lld %lld %lld %lld", &first, &second, &third, &fourth);
        answer_get((AudioObjectID)first, (UInt32)second, (UInt32)third, fourth != 0);
    } else if (strcmp(verb, "raw") == 0) {
        sscanf(line, "%*s %lld %lld %lld", &first, &second, &third);
        if (third >= 0 && third <= MOST_FRAMES) answer_raw((UInt32)first, second, (UInt32)third);
        else printf("{\"error\":\"too many frames\"}\n");
    } else {
        printf("{\"error\":\"unknown: %s\"}\n", verb);
    }
    fflush(stdout);
}

void run_session(Factory factory) {
    driver = plugin_open(factory);
    device = plugin_device(driver), stream = plugin_stream(driver, device);
    CHECK(device != 0 && stream != 0, "no device or no stream");
    printf("{\"ready\":true}\n");
    fflush(stdout);
    char line[512];
    while (fgets(line, sizeof line, stdin) != NULL && strncmp(line, "quit", 4) != 0) answer(line);
}
