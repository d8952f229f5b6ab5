/* How long a read takes, beside copying and clearing as many bytes and beside one look at a clock, of which a read takes two. They
 * take turns in rounds, so that whatever else the machine does hits all of them. */
#include <stdio.h>
#include <string.h>

#include "../c-host/check.h"
#include "../c-host/rows.h"
#include "parts.h"

enum { FRAMES = 512, BYTES = FRAMES * 8, CALLS = 1000, SPREAD = 16, MOST_ROUNDS = 1000 };

typedef struct {
    DriverRef driver;
    AudioObjectID device, stream;
    UInt32 clients;
    SInt64 from;
} Timing;

static UInt8 source[BYTES * SPREAD], buffer[BYTES];

/* So that the compiler can neither see what becomes of the buffer nor leave anything out. */
static void touch(void) { __asm__ volatile("" : : "r"(buffer), "r"(source) : "memory"); }

static void read_block(const Timing *timing, int call) {
    AudioServerPlugInIOCycleInfo cycle = {.mIOCycleCounter = 1, .mNominalIOBufferFrameSize = FRAMES};
    cycle.mInputTime.mSampleTime = (Float64)(timing->from + call % SPREAD * FRAMES);
    cycle.mInputTime.mFlags = 3;
    UInt32 client = 1 + (UInt32)call % timing->clients;
    (*timing->driver)->DoIOOperation(timing->driver, timing->device, timing->stream, client, kOperationReadInput, FRAMES, &cycle, buffer, NULL);
}

static void copy_block(const Timing *timing, int call) {
    (void)timing;
    memcpy(buffer, source + call % SPREAD * BYTES, BYTES);
}

static void clear_block(const Timing *timing, int call) {
    (void)timing, (void)call;
    memset(buffer, 0, BYTES);
}

static void look_at_clock(const Timing *timing, int call) {
    (void)timing, (void)call;
    monotonic_ns();
}

/* Nanoseconds of one call. */
static double time_of(void (*what)(const Timing *, int), const Timing *timing) {
    double began = monotonic_ns();
    for (int call = 0; call < CALLS; call++) {
        what(timing, call);
        touch();
    }
    return (monotonic_ns() - began) / CALLS;
}

void answer_timing(DriverRef driver, AudioObjectID device, AudioObjectID stream, UInt32 clients, SInt64 from, int rounds) {
    static double took[4][MOST_ROUNDS];
    static const UInt8 zeros[BYTES];
    void (*const kinds[4])(const Timing *, int) = {read_block, copy_block, clear_block, look_at_clock};
    const Timing timing = {driver, device, stream, clients, from};
    int live = 0;
    if (clients == 0 || rounds > MOST_ROUNDS) rounds = 0;
    memset(source, 0x55, sizeof source);
    for (int round = 0; round < rounds; round++)
        for (int kind = 0; kind < 4; kind++) {
            took[kind][round] = time_of(kinds[kind], &timing);
            if (kind == 0 && memcmp(buffer, zeros, BYTES) != 0) live++;
        }
    printf("{\"live\":%d,", live);
    print_row("read", took[0], rounds), printf(",");
    print_row("memcpy", took[1], rounds), printf(",");
    print_row("memset", took[2], rounds), printf(",");
    print_row("clock", took[3], rounds), printf("}\n");
}
