/* The control device's requests. Codes and records are written here once more, after their description: 64-bit little-endian
 * structures, METHOD_BUFFERED, device type 0x8000, functions from 0x800 on.
 *
 *     version H | attach H [VERSION] | clock H | snapshot H | mute H | unmute H | renew H     one request each
 *     feed H EPOCH POSITION BEGAN_NS FRAMES TAG       one feed of the ramp
 *     feeder H TAG RENEWS AHEAD                       unmutes, and from now on every period feeds what it captured in it (and renews
 *                                                     its lease if RENEWS), so that frames lie AHEAD frames ahead of the clock
 *     feeder off                                      stops that
 *     random H OTHER SEED COUNT                       so many random requests on both handles, while users come and go -> how many succeeded */
#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../c-host/check.h"
#include "../c-host/rows.h"
#include "machine.h"
#include "security.h"

enum { VERSION, ATTACH, FEED, RENEW, MUTE, UNMUTE, CLOCK, SNAPSHOT, REQUESTS };
enum { MOST_FRAMES = 4800, INTERFACE_VERSION = 1 };

static const struct {
    ULONG code, input, output;
} requests[REQUESTS] = {
    [VERSION] = {0x80006000, 0, 16}, [ATTACH] = {0x8000a004, 8, 0},  [FEED] = {0x8000a008, 32, 0},   [RENEW] = {0x8000a00c, 0, 16},
    [MUTE] = {0x80006010, 0, 24},    [UNMUTE] = {0x8000a014, 0, 24}, [CLOCK] = {0x80006018, 0, 24}, [SNAPSHOT] = {0x8000601c, 0, 208},
};

typedef struct {
    ULONG64 epoch, position, began_ns;
    ULONG frames, reserved;
} FeedHead;
_Static_assert(sizeof(FeedHead) == 32, "the feed's head");

typedef struct {
    FeedHead head;
    int32_t frames[MOST_FRAMES][2];
} FeedRequest;

typedef struct {
    ULONG64 epoch, position, at_ns;
} Turned;

static struct {
    const Handle *handle;
    bool renews;
    int32_t tag;
    ULONG64 ahead;
    Turned opened;
    /* Position of the next frame that it captures, by the driver's clock. */
    ULONG64 captured;
    long feeds, refused;
} feeder;

/* Nanoseconds of the performance counter, as both sides reckon them. */
static ULONG64 counter_ns(void) { return (ULONG64)((unsigned __int128)time_counter() * 1000000000 / time_frequency()); }

int32_t ramp_at(ULONG64 position) { return (int32_t)(position & 0x3fffffff) + 1; }

static NTSTATUS ask(const Handle *handle, int request, const void *input, ULONG input_bytes, void *output) {
    ULONG given = 0;
    NTSTATUS status = handle_control(handle, requests[request].code, input, input_bytes, output, requests[request].output, &given);
    if (succeeded(status)) CHECK(given == requests[request].output, "request %d gives %u bytes, and should give %u", request, given, requests[request].output);
    return status;
}

/* The request is made before the time is taken. */
static NTSTATUS feed(const Handle *handle, ULONG64 epoch, ULONG64 position, ULONG64 began_ns, ULONG frames, int32_t tag, double *took) {
    static FeedRequest request;
    request.head = (FeedHead){epoch, position, began_ns, frames, 0};
    for (ULONG at = 0; at < frames; at++) request.frames[at][0] = ramp_at(position + at), request.frames[at][1] = tag;
    double began = monotonic_ns();
    NTSTATUS status = ask(handle, FEED, &request, (ULONG)sizeof request.head + frames * 8, NULL);
    *took += monotonic_ns() - began;
    return status;
}

const Handle *feeder_handle(void) { return feeder.handle; }

bool control_clock(const Handle *handle, ULONG64 *host_ns, ULONG64 *position) {
    ULONG64 words[3];
    if (!succeeded(ask(handle, CLOCK, NULL, 0, words))) return false;
    *host_ns = words[0], *position = words[1];
    return true;
}

/* The position of a moment, by the driver's anchor. */
static ULONG64 position_now(const Handle *handle) {
    ULONG64 host_ns = 0, position = 0;
    if (!control_clock(handle, &host_ns, &position)) return 0;
    return position + (counter_ns() - host_ns) * 48 / 1000000;
}

double feeder_step(void) {
    double took = 0;
    if (feeder.handle == NULL) return took;
    ULONG64 now = position_now(feeder.handle);
    while (feeder.captured < now) {
        ULONG frames = now - feeder.captured > MOST_FRAMES ? MOST_FRAMES : (ULONG)(now - feeder.captured);
        ULONG64 began_ns = counter_ns() - (now - feeder.captured) * 1000000 / 48;
        /* The first of them may have been captured before it unmuted, by rounding. */
        if (began_ns < feeder.opened.at_ns) began_ns = feeder.opened.at_ns;
        NTSTATUS status = feed(feeder.handle, feeder.opened.epoch, feeder.captured + feeder.ahead, began_ns, frames, feeder.tag, &took);
        feeder.feeds++;
        if (!succeeded(status)) feeder.refused++;
        feeder.captured += frames;
    }
    if (feeder.renews) {
        UCHAR gate[16];
        ask(feeder.handle, RENEW, NULL, 0, gate);
    }
    return took;
}

NTSTATUS feeder_open(void) {
    if (feeder.handle == NULL) return STATUS_INVALID_HANDLE;
    NTSTATUS status = ask(feeder.handle, UNMUTE, NULL, 0, &feeder.opened);
    feeder.captured = feeder.opened.position;
    return status;
}

double feeder_mute(void) {
    Turned muted;
    double began = monotonic_ns();
    if (feeder.handle != NULL) ask(feeder.handle, MUTE, NULL, 0, &muted);
    return monotonic_ns() - began;
}

static void answer_feeder(const char *words) {
    unsigned handle, renews;
    long long tag, ahead;
    if (strncmp(words, " off", 4) == 0) {
        printf("{\"feeds\":%ld,\"refused\":%ld}\n", feeder.feeds, feeder.refused);
        feeder.handle = NULL;
        return;
    }
    if (sscanf(words, "%u %lld %u %lld", &handle, &tag, &renews, &ahead) != 4 || session_handle(words) == NULL) {
        printf("{\"error\":\"feeder H TAG RENEWS AHEAD | off\"}\n");
        return;
    }
    memset(&feeder, 0, sizeof feeder);
    feeder.handle = session_handle(words), feeder.tag = (int32_t)tag, feeder.renews = renews != 0, feeder.ahead = (ULONG64)ahead;
    NTSTATUS status = feeder_open();
    if (!succeeded(status)) feeder.handle = NULL;
    printf("{\"status\":%u,\"epoch\":%llu,\"position\":%llu,\"opened_ns\":%llu}\n", (ULONG)status, (unsigned long long)feeder.opened.epoch,
           (unsigned long long)feeder.opened.position, (unsigned long long)feeder.opened.at_ns);
}

static void answer_feed(const Handle *handle, const char *words) {
    unsigned at;
    unsigned long long epoch, position, began_ns;
    unsigned frames;
    int tag;
    if (sscanf(words, "%u %llu %llu %llu %u %d", &at, &epoch, &position, &began_ns, &frames, &tag) != 6 || frames > MOST_FRAMES) {
        printf("{\"error\":\"feed H EPOCH POSITION BEGAN_NS FRAMES TAG\"}\n");
        return;
    }
    double took = 0;
    NTSTATUS status = feed(handle, epoch, position, began_ns, frames, tag, &took);
    printf("{\"status\":%u}\n", (ULONG)status);
}

static void answer_numbers(NTSTATUS status, const char *const *names, const void *words, int count) {
    printf("{\"status\":%u", (ULONG)status);
    for (int at = 0; at < count && succeeded(status); at++) printf(",\"%s\":%llu", names[at], ((const unsigned long long *)words)[at]);
    printf("}\n");
}

static void answer_snapshot(const Handle *handle) {
    static const char *const names[] = {
        "opened", "refused", "runs", "live_pulls", "live_pull_frames", "muted_pulls", "muted_pull_frames", "lost_pulls", "last_pull_ns", "interval_p50_ns", "interval_p99_ns",
        "interval_max_ns", "live_frames", "muted_frames", "zeroed_frames", "feeds", "fed_frames", "feeds_refused", "leases_expired", "feeders_lost",
    };
    struct {
        ULONG64 instance, at_ns, epoch;
        ULONG open, reason, attached, state, streams, buffer_frames;
        ULONG64 counts[20];
    } snapshot;
    _Static_assert(sizeof snapshot == 208, "the snapshot");
    NTSTATUS status = ask(handle, SNAPSHOT, NULL, 0, &snapshot);
    printf("{\"status\":%u", (ULONG)status);
    if (succeeded(status)) {
        printf(",\"instance\":%llu,\"at_ns\":%llu,\"epoch\":%llu,\"open\":%u,\"reason\":%u,\"attached\":%u,\"state\":%u,\"streams\":%u,\"buffer_frames\":%u",
               (unsigned long long)snapshot.instance, (unsigned long long)snapshot.at_ns, (unsigned long long)snapshot.epoch, snapshot.open, snapshot.reason, snapshot.attached,
               snapshot.state, snapshot.streams, snapshot.buffer_frames);
        for (int at = 0; at < 20; at++) printf(",\"%s\":%llu", names[at], (unsigned long long)snapshot.counts[at]);
    }
    printf("}\n");
}

/* ---- random requests ---- */

static ULONG64 next_random(ULONG64 *state) {
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state;
}

/* Mostly a code of ours with lengths near to the right ones, sometimes anything. A feed's numbers are now and then plausible, so that
 * some are taken; time goes on a little. */
static bool ask_something(const Handle *handle, ULONG64 *random) {
    static UCHAR input[sizeof(FeedRequest) + 64], output[1024];
    static const ULONG nearby[] = {0, 1, 4, 8, 16, 24, 31, 32, 33, 40, 64, 208, 512};
    const int request = (int)(next_random(random) % REQUESTS);
    ULONG code = requests[request].code, input_bytes = requests[request].input, output_bytes = requests[request].output;
    ULONG64 dice = next_random(random);
    for (ULONG at = 0; at < 64; at += 8) memcpy(input + at, &(ULONG64){next_random(random)}, 8);
    if (request == ATTACH && dice % 4 != 0) memcpy(input, &(ULONG[2]){INTERFACE_VERSION, 0}, 8);
    if (request == FEED) {
        ULONG frames = (ULONG)(next_random(random) % 64);
        FeedHead head = {dice >> 8 & 7, position_now(handle) + (dice >> 16 & 1023), counter_ns() - (dice >> 32 & 0xffffff), frames, 0};
        if (dice % 8 != 0) memcpy(input, &head, sizeof head);
        input_bytes += frames * 8;
        if ((dice >> 5) % 8 == 0) input_bytes += (ULONG)(next_random(random) % 17);
    }
    if (dice % 16 == 1) code ^= 1u << next_random(random) % 32;
    if (dice % 16 == 2) code = (ULONG)next_random(random);
    if (dice % 16 == 3) input_bytes = nearby[next_random(random) % 13];
    if (dice % 16 == 4) output_bytes = nearby[next_random(random) % 13];
    if (dice % 16 == 5) input_bytes = (ULONG)(next_random(random) % sizeof input), output_bytes = (ULONG)(next_random(random) % sizeof output);
    ULONG given = 0;
    NTSTATUS status = dice % 32 < 16 ? handle_control(handle, code, input, input_bytes, output, output_bytes, &given)
                                     : handle_control_unchecked(handle, code, input, input_bytes, output, output_bytes, &given);
    if (dice % 64 == 0) time_advance(next_random(random) % 20000000);
    /* Those who ask leave the console now and then, and soon come back. */
    if (dice % 1024 == 7) security_set_console(4);
    if (dice % 64 == 8) security_set_console(1);
    return succeeded(status);
}

static void answer_random(const Handle *handle, const char *words) {
    char other[16];
    unsigned long long seed, count;
    const Handle *handles[2] = {handle};
    if (sscanf(words, "%*u %15s %llu %llu", other, &seed, &count) != 3 || (handles[1] = session_handle(other)) == NULL) {
        printf("{\"error\":\"random H OTHER SEED COUNT\"}\n");
        return;
    }
    ULONG64 random = seed * 2 + 1;
    long succeeded_count = 0;
    for (unsigned long long time = 0; time < count; time++) succeeded_count += ask_something(handles[next_random(&random) % 2], &random);
    security_set_console(1);
    printf("{\"succeeded\":%ld}\n", succeeded_count);
}

bool control_answer(const char *verb, const char *words) {
    static const char *const turned[] = {"epoch", "position", "at_ns"}, *const clock[] = {"host_ns", "position", "seed"};
    static const char *const orders[] = {"version", "attach", "feed", "renew", "mute", "unmute", "clock", "snapshot", "random"};
    ULONG64 answer[3] = {0};
    if (strcmp(verb, "feeder") == 0) {
        answer_feeder(words);
        return true;
    }
    unsigned order = 0;
    while (order < sizeof orders / sizeof orders[0] && strcmp(orders[order], verb) != 0) order++;
    if (order == sizeof orders / sizeof orders[0]) return false;
    const Handle *handle = session_handle(words);
    if (handle == NULL) {
        printf("{\"error\":\"no such handle\"}\n");
        return true;
    }
    NTSTATUS status;
    switch (order) {
    case VERSION:
        status = ask(handle, VERSION, NULL, 0, answer);
        printf("{\"status\":%u,\"version\":%u,\"rate\":%u,\"instance\":%llu}\n", (ULONG)status, (ULONG)answer[0], (ULONG)(answer[0] >> 32), (unsigned long long)answer[1]);
        break;
    case ATTACH: {
        ULONG request[2] = {INTERFACE_VERSION, 0};
        sscanf(words, "%*u %u", &request[0]);
        printf("{\"status\":%u}\n", (ULONG)ask(handle, ATTACH, request, sizeof request, NULL));
        break;
    }
    case FEED: answer_feed(handle, words); break;
    case RENEW:
        status = ask(handle, RENEW, NULL, 0, answer);
        printf("{\"status\":%u,\"epoch\":%llu,\"open\":%u}\n", (ULONG)status, (unsigned long long)answer[0], (ULONG)answer[1]);
        break;
    case MUTE: status = ask(handle, MUTE, NULL, 0, answer), answer_numbers(status, turned, answer, 3); break;
    case UNMUTE: status = ask(handle, UNMUTE, NULL, 0, answer), answer_numbers(status, turned, answer, 3); break;
    case CLOCK: status = ask(handle, CLOCK, NULL, 0, answer), answer_numbers(status, clock, answer, 3); break;
    case SNAPSHOT: answer_snapshot(handle); break;
    default: answer_random(handle, words); break;
    }
    return true;
}
