/* One thread is the processor on which time goes on, timers fire and packets are fetched; the other one feeds, mutes and unmutes. Each has its
 * own interrupt level, and the driver's lock is a real one. Time goes on only as far as the second thread allows, so that what is heard is
 * the same however slow the machine; when in its work the mute comes is chance. */
#include "race.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "control.h"
#include "machine.h"

enum { STEP_NS = 250000, PERIOD_NS = 10000000, LEAD_PERIODS = 5, MOST_SPINS = 4096 };

static _Atomic ULONG64 allowed_ns, gone_ns;
static atomic_bool ends;
static IMiniportWaveRTInputStream *fetched_from;

static void *go_on(void *words) {
    (void)words;
    while (!ends) {
        if (gone_ns >= allowed_ns) {
            sched_yield();
            continue;
        }
        ULONG number = 0, flags = 0;
        ULONG64 counter = 0;
        LONG more = 0;
        time_advance(STEP_NS);
        INTO_DRIVER(PASSIVE_LEVEL, fetched_from->table->GetReadPacket(fetched_from, &number, &flags, &counter, &more));
        gone_ns += STEP_NS;
    }
    return NULL;
}

static void allow(ULONG64 ns) { allowed_ns += ns; }

static void wait_for_it(void) {
    while (gone_ns < allowed_ns) sched_yield();
}

static bool is_filled(const UCHAR *buffer, ULONG bytes) {
    for (ULONG at = 0; at < bytes; at++)
        if (((const volatile UCHAR *)buffer)[at] != 0) return true;
    return false;
}

void answer_race(IMiniportWaveRTInputStream *input, const UCHAR *buffer, ULONG bytes, int rounds) {
    pthread_t thread;
    long live = 0, at_once = 0, later = 0, in_between = 0;
    unsigned random = 1;
    atomic_store(&allowed_ns, 0);
    atomic_store(&gone_ns, 0);
    atomic_store(&ends, false);
    fetched_from = input;
    pthread_create(&thread, NULL, go_on, NULL);
    for (int round = 0; round < rounds; round++) {
        feeder_open();
        for (int period = 0; period < LEAD_PERIODS; period++) {
            feeder_step();
            allow(PERIOD_NS);
            wait_for_it();
        }
        feeder_step();
        live += is_filled(buffer, bytes);
        allow(PERIOD_NS);
        random = random * 1664525 + 1013904223;
        for (unsigned spin = random >> 16 & (MOST_SPINS - 1); spin > 0; spin--) __asm__ volatile("" ::: "memory");
        in_between += gone_ns < allowed_ns;
        feeder_mute();
        at_once += is_filled(buffer, bytes);
        wait_for_it();
        allow(2 * PERIOD_NS);
        wait_for_it();
        later += is_filled(buffer, bytes);
    }
    ends = true;
    pthread_join(thread, NULL);
    printf("{\"rounds\":%d,\"live\":%ld,\"in_between\":%ld,\"filled_at_once\":%ld,\"filled_later\":%ld}\n", rounds, live, in_between, at_once, later);
}
