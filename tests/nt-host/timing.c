/* The driver's work in one period of 10 ms: its timer writes a packet through the gate, and the audio engine fetches it; live and muted.
 * Beside it a feed of as many frames, a mute, and copying and clearing as many bytes. They take turns in rounds, so that whatever else the
 * machine does hits all of them. The doubles' own work (locks, timers, requests) is in the driver's figures, so these are upper bounds. */
#include "timing.h"

#include <stdio.h>
#include <string.h>

#include "../c-host/rows.h"
#include "control.h"
#include "machine.h"

enum { FRAMES = 480, BYTES = FRAMES * 8, CALLS = 100, SPREAD = 16, MOST_ROUNDS = 1000, PERIOD_NS = 10000000 };
enum { LIVE, MUTED, FEED, MUTE, MEMCPY, MEMSET, KINDS };

static UCHAR source[BYTES * SPREAD], target[BYTES];

/* So that the compiler can neither see what becomes of the bytes nor leave anything out. */
static void touch(void) { __asm__ volatile("" : : "r"(target), "r"(source) : "memory"); }

/* Time goes on by a period, and the packet is fetched. */
static double period(IMiniportWaveRTInputStream *input) {
    ULONG number = 0, flags = 0;
    ULONG64 counter = 0;
    LONG more = 0;
    double began = monotonic_ns();
    time_advance(PERIOD_NS);
    INTO_DRIVER(PASSIVE_LEVEL, input->table->GetReadPacket(input, &number, &flags, &counter, &more));
    return monotonic_ns() - began;
}

static bool is_filled(const UCHAR *buffer, ULONG bytes) {
    for (ULONG at = 0; at < bytes; at++)
        if (buffer[at] != 0) return true;
    return false;
}

void answer_timing(IMiniportWaveRTInputStream *input, const UCHAR *buffer, ULONG bytes, int rounds) {
    static const char *const names[KINDS] = {"live", "muted", "feed", "mute", "memcpy", "memset"};
    static double took[KINDS][MOST_ROUNDS];
    int live = 0, left = 0;
    if (rounds > MOST_ROUNDS) rounds = MOST_ROUNDS;
    memset(source, 0x55, sizeof source);
    for (int round = 0; round < rounds; round++) {
        double sums[KINDS] = {0};
        feeder_open();
        /* Until what is fed ahead is due. */
        for (int call = 0; call < 5; call++) period(input), feeder_step();
        for (int call = 0; call < CALLS; call++) {
            sums[LIVE] += period(input);
            live += is_filled(buffer, bytes);
            sums[FEED] += feeder_step();
        }
        sums[MUTE] = feeder_mute() * CALLS;
        left += is_filled(buffer, bytes);
        for (int call = 0; call < CALLS; call++) sums[MUTED] += period(input);
        for (int call = 0; call < CALLS; call++) {
            double began = monotonic_ns();
            memcpy(target, source + call % SPREAD * BYTES, BYTES);
            touch();
            double copied = monotonic_ns();
            memset(target, 0, BYTES);
            touch();
            sums[MEMCPY] += copied - began;
            sums[MEMSET] += monotonic_ns() - copied;
        }
        for (int kind = 0; kind < KINDS; kind++) took[kind][round] = sums[kind] / CALLS;
    }
    printf("{\"periods\":%d,\"live_periods\":%d,\"filled_after_mute\":%d", rounds * CALLS, live, left);
    for (int kind = 0; kind < KINDS; kind++) printf(","), print_row(names[kind], took[kind], rounds);
    printf("}\n");
}
