/* A program for Windows that installs the driver's device, speaks with the driver and removes it again: what a process sees of it from
 * outside, with declarations of its own, from the interface's documentation and not from our Rust.
 *
 *     client install INF ID | remove ID | gone | talk
 *
 * The first thing that is not as it must be ends it with a sentence and 1. */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <newdev.h>
#include <setupapi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST(function, access) (0x8000u << 16 | (access) << 14 | (0x800u | (function)) << 2)
enum { READ = 1, WRITE = 2 };
enum {
    VERSION = REQUEST(0, READ),
    ATTACH = REQUEST(1, WRITE),
    FEED = REQUEST(2, WRITE),
    RENEW = REQUEST(3, WRITE),
    MUTE = REQUEST(4, READ),
    UNMUTE = REQUEST(5, WRITE),
    CLOCK = REQUEST(6, READ),
    SNAPSHOT = REQUEST(7, READ),
};

struct version { uint32_t version, rate; uint64_t instance; };
struct attach { uint32_t version, reserved; };
struct gate { uint64_t epoch; uint32_t open, reserved; };
struct muted { uint64_t epoch, position, done_ns; };
struct unmuted { uint64_t epoch, position, opened_ns; };
struct time { uint64_t host_ns, position, seed; };
struct feed { uint64_t epoch, position, began_ns; uint32_t frames, reserved; int32_t samples[480][2]; };
struct snapshot {
    uint64_t instance, at_ns, epoch;
    uint32_t open, reason, attached, state, streams, buffer_frames;
    uint64_t opened, refused, runs, live_pulls, live_pull_frames, muted_pulls, muted_pull_frames, lost_pulls, last_pull_ns;
    uint64_t interval_p50_ns, interval_p99_ns, interval_max_ns, live_frames, muted_frames, zeroed_frames, feeds, fed_frames;
    uint64_t feeds_refused, leases_expired, feeders_lost;
};

static void expect(int holds, const char *what) {
    if (holds)
        return;
    printf("WRONG: %s (last error %lu)\n", what, GetLastError());
    exit(1);
}

static HANDLE open_device(DWORD access) {
    return CreateFileA("\\\\.\\TrueMute", access, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
}

/* The error of a request, 0 if there was none; what it gives must have exactly the length that was asked for. */
static DWORD ask(HANDLE device, DWORD code, const void *in, DWORD in_bytes, void *out, DWORD out_bytes) {
    DWORD got = 0;
    SetLastError(0);
    if (!DeviceIoControl(device, code, (void *)in, in_bytes, out, out_bytes, &got, NULL))
        return GetLastError() ? GetLastError() : ERROR_GEN_FAILURE;
    expect(got == out_bytes, "a request gave another length than its own");
    return 0;
}

static struct snapshot look(HANDLE device) {
    struct snapshot now;
    expect(!ask(device, SNAPSHOT, NULL, 0, &now, sizeof now), "SNAPSHOT fails");
    return now;
}

static void talk(void) {
    HANDLE feeder = open_device(GENERIC_READ | GENERIC_WRITE), other = open_device(GENERIC_READ | GENERIC_WRITE);
    HANDLE reader = open_device(GENERIC_READ);
    expect(feeder != INVALID_HANDLE_VALUE && other != INVALID_HANDLE_VALUE, "the device cannot be opened");
    expect(reader != INVALID_HANDLE_VALUE, "the device cannot be opened for reading");

    struct version version, again;
    unsigned char space[64];
    expect(!ask(feeder, VERSION, NULL, 0, &version, sizeof version), "VERSION fails");
    expect(version.version == 1 && version.rate == 48000 && version.instance, "VERSION says something else");
    expect(!ask(reader, VERSION, NULL, 0, &again, sizeof again) && again.instance == version.instance, "another instance");
    for (DWORD bytes = 0; bytes < sizeof space; bytes++)
        if (bytes != sizeof version)
            expect(ask(feeder, VERSION, NULL, 0, space, bytes), "VERSION takes another length");
    expect(ask(feeder, VERSION, space, 1, &version, sizeof version), "VERSION takes an argument");
    expect(ask(feeder, VERSION ^ 0x100, NULL, 0, space, sizeof version), "an unknown code is answered");

    const struct snapshot before = look(reader);
    struct snapshot now = before;
    expect(!now.open && !now.attached && !now.streams && now.instance == version.instance, "it does not begin silent and alone");
    struct unmuted unmuted;
    struct gate gate;
    expect(ask(feeder, UNMUTE, NULL, 0, &unmuted, sizeof unmuted) == ERROR_ACCESS_DENIED, "somebody who is not the feeder unmutes");
    expect(ask(feeder, RENEW, NULL, 0, &gate, sizeof gate) == ERROR_ACCESS_DENIED, "somebody who is not the feeder renews");
    struct attach attach = {2, 0};
    expect(ask(feeder, ATTACH, &attach, sizeof attach, NULL, 0) == ERROR_REVISION_MISMATCH, "another version is attached");
    attach.version = 1;
    expect(!ask(feeder, ATTACH, &attach, sizeof attach, NULL, 0), "ATTACH fails");
    expect(ask(other, ATTACH, &attach, sizeof attach, NULL, 0) == ERROR_SHARING_VIOLATION, "a second feeder is attached");
    expect(ask(other, UNMUTE, NULL, 0, &unmuted, sizeof unmuted) == ERROR_ACCESS_DENIED, "another handle unmutes");
    expect(ask(reader, UNMUTE, NULL, 0, &unmuted, sizeof unmuted) == ERROR_ACCESS_DENIED, "a handle for reading unmutes");

    struct time first, second;
    expect(!ask(reader, CLOCK, NULL, 0, &first, sizeof first), "CLOCK fails");
    Sleep(100);
    expect(!ask(reader, CLOCK, NULL, 0, &second, sizeof second), "CLOCK fails");
    uint64_t frames = (second.host_ns - first.host_ns) * 48 / 1000000;
    expect(second.host_ns >= first.host_ns + 50000000, "its clock stands still");
    expect(second.position - first.position + 2 >= frames && second.position - first.position <= frames + 2, "its clock is not 48 kHz");

    static struct feed feed;
    feed.frames = 480;
    feed.position = second.position;
    expect(ask(feeder, FEED, &feed, sizeof feed, NULL, 0), "a feed is taken while the gate is shut");
    expect(!ask(feeder, UNMUTE, NULL, 0, &unmuted, sizeof unmuted), "UNMUTE fails");
    feed.epoch = unmuted.epoch;
    feed.position = unmuted.position;
    feed.began_ns = unmuted.opened_ns;
    expect(!ask(feeder, FEED, &feed, sizeof feed, NULL, 0), "FEED fails");
    expect(ask(feeder, FEED, &feed, sizeof feed - 1, NULL, 0), "a feed that is cut off is taken");
    expect(ask(other, FEED, &feed, sizeof feed, NULL, 0) == ERROR_ACCESS_DENIED, "another handle feeds");
    now = look(other);
    expect(now.open && now.attached && now.feeds == before.feeds + 1 && now.fed_frames == before.fed_frames + 480, "the counts of the feed are wrong");
    struct muted muted;
    expect(!ask(reader, MUTE, NULL, 0, &muted, sizeof muted), "MUTE fails for a handle that may only read");
    expect(!look(reader).open && muted.epoch > unmuted.epoch, "it is open after a mute");
    expect(ask(feeder, FEED, &feed, sizeof feed, NULL, 0), "a feed of an old epoch is taken");

    expect(!ask(feeder, UNMUTE, NULL, 0, &unmuted, sizeof unmuted), "UNMUTE fails the second time");
    expect(look(other).open, "it is shut after an unmute");
    CloseHandle(feeder);
    /* Wine 10 sends no IRP_MJ_CLEANUP, by which Windows says that the feeder is gone. The lease, which nobody renews, runs out. */
    for (int tries = 0; (now = look(other)).open && tries < 200; tries++)
        Sleep(10);
    expect(!now.open && now.feeders_lost + now.leases_expired == before.feeders_lost + before.leases_expired + 1,
           "it stays open when the feeder is gone");
    printf("instance %llx\n", (unsigned long long)version.instance);
}

static void install(const char *inf, const char *id) {
    GUID class;
    char name[MAX_CLASS_NAME], ids[64] = {0};
    BOOL restart;
    snprintf(ids, sizeof ids - 1, "%s", id);
    expect(SetupDiGetINFClassA(inf, &class, name, sizeof name, NULL), "the INF names no class");
    HDEVINFO list = SetupDiCreateDeviceInfoList(&class, NULL);
    SP_DEVINFO_DATA device = {.cbSize = sizeof device};
    expect(list != INVALID_HANDLE_VALUE, "there is no list of devices");
    expect(SetupDiCreateDeviceInfoA(list, name, &class, NULL, NULL, DICD_GENERATE_ID, &device), "no device can be made");
    expect(SetupDiSetDeviceRegistryPropertyA(list, &device, SPDRP_HARDWAREID, (BYTE *)ids, strlen(ids) + 2), "it takes no id");
    expect(SetupDiCallClassInstaller(DIF_REGISTERDEVICE, list, &device), "the device is not registered");
    expect(UpdateDriverForPlugAndPlayDevicesA(NULL, id, inf, INSTALLFLAG_FORCE, &restart), "the driver is not installed");
    printf("installed\n");
}

static void remove_device(const char *id) {
    HDEVINFO list = SetupDiGetClassDevsA(NULL, NULL, NULL, DIGCF_ALLCLASSES | DIGCF_PRESENT);
    SP_DEVINFO_DATA device = {.cbSize = sizeof device};
    char found[256];
    int removed = 0;
    for (DWORD index = 0; SetupDiEnumDeviceInfo(list, index, &device); index++) {
        if (!SetupDiGetDeviceRegistryPropertyA(list, &device, SPDRP_HARDWAREID, NULL, (BYTE *)found, sizeof found, NULL))
            continue;
        if (_stricmp(found, id) == 0) {
            expect(SetupDiCallClassInstaller(DIF_REMOVE, list, &device), "the device is not removed");
            removed++;
        }
    }
    expect(removed == 1, "not one device was removed");
    printf("removed\n");
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IONBF, 0);
    const char *what = count > 1 ? words[1] : "";
    if (!strcmp(what, "talk") && count == 2)
        talk();
    else if (!strcmp(what, "install") && count == 4)
        install(words[2], words[3]);
    else if (!strcmp(what, "remove") && count == 3)
        remove_device(words[2]);
    else if (!strcmp(what, "gone") && count == 2) {
        expect(open_device(GENERIC_READ) == INVALID_HANDLE_VALUE, "the device is still there");
        printf("gone\n");
    } else
        return 2;
    return 0;
}
