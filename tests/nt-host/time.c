/* Time, which stands still until somebody advances it; timers and events. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../c-host/check.h"
#include "loader.h"
#include "machine.h"

enum { MOST_TIMERS = 64 };

typedef void NTAPI EXT_CALLBACK(PVOID timer, PVOID context);

typedef struct {
    ULONG Version, Reserved;
    LONG64 NoWakeTolerance;
} EXT_SET_PARAMETERS;

typedef struct {
    ULONG Version, Reserved;
    PVOID DeleteCallback, DeleteContext;
} EXT_DELETE_PARAMETERS;

/* An ExTimer. */
typedef struct {
    bool allocated, set, running;
    EXT_CALLBACK *callback;
    PVOID context;
    /* When it is due, and when it is served: later, by chance. */
    ULONG64 due_ns, served_ns, period_ns;
} Timer;

/* Since the boot: the driver is loaded an hour after it. */
static _Atomic ULONG64 now_ns = 3600ull * 1000000000;
static ULONG64 hz = 10000000, lateness_ns;
static Timer timers[MOST_TIMERS];
static long callbacks;
/* Whether a callback may still run on another processor, for all that the driver knows. */
static atomic_bool unflushed;
static void (*after_timers)(void);

void time_set_frequency(ULONG64 to) { hz = to; }
ULONG64 time_frequency(void) { return hz; }
ULONG64 time_ns(void) { return now_ns; }
ULONG64 time_counter(void) { return (ULONG64)((unsigned __int128)now_ns * hz / 1000000000); }
void time_set_lateness(ULONG64 most_ns) { lateness_ns = most_ns; }
long time_callbacks(void) { return callbacks; }
bool time_is_flushed(void) { return !unflushed; }

static ULONG64 some_lateness(void) {
    static ULONG64 random = 0x9e3779b97f4a7c15;
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    return lateness_ns == 0 ? 0 : random % lateness_ns;
}

/* Negative: from now on. Positive: since 1601, of which the boot is taken to be the beginning. In units of 100 ns. */
static void set_timer(Timer *timer, LONG64 due, ULONG64 period_ns) {
    timer->due_ns = due < 0 ? now_ns + (ULONG64)-due * NS_OF_TICK : (ULONG64)due * NS_OF_TICK;
    timer->served_ns = timer->due_ns + some_lateness();
    timer->period_ns = period_ns;
    timer->set = true;
}

static void serve(Timer *timer) {
    if (timer->period_ns > 0) {
        timer->due_ns += timer->period_ns;
        timer->served_ns = timer->due_ns + some_lateness();
    } else {
        timer->set = false;
    }
    timer->running = true;
    callbacks++;
    unflushed = true;
    if (timer->callback != NULL) INTO_DRIVER(DISPATCH_LEVEL, timer->callback(timer, timer->context));
    timer->running = false;
}

static Timer *next_timer(ULONG64 until_ns) {
    Timer *next = NULL;
    for (int at = 0; at < MOST_TIMERS; at++)
        if (timers[at].set && timers[at].served_ns <= until_ns && (next == NULL || timers[at].served_ns < next->served_ns)) next = &timers[at];
    return next;
}

void time_after_timers(void (*call)(void)) { after_timers = call; }

void time_advance(ULONG64 ns) {
    ULONG64 until_ns = now_ns + ns;
    for (Timer *timer = next_timer(until_ns); timer != NULL; timer = next_timer(until_ns)) {
        if (timer->served_ns > now_ns) now_ns = timer->served_ns;
        serve(timer);
        if (after_timers != NULL) after_timers();
    }
    now_ns = until_ns;
}

void time_check_empty(void) {
    for (int at = 0; at < MOST_TIMERS; at++) {
        CHECK(!timers[at].set, "a timer is left that will fire");
        CHECK(!timers[at].allocated, "leak: a timer of ExAllocateTimer");
    }
}

/* ---- what the driver calls ---- */

static LONG64 NTAPI KeQueryPerformanceCounter(LONG64 *frequency) {
    if (frequency != NULL) *frequency = (LONG64)hz;
    return (LONG64)time_counter();
}

/* 2026-01-01, in units of 100 ns since 1601, at boot. */
static void NTAPI KeQuerySystemTimePrecise(LONG64 *time) { *time = (LONG64)(134117568000000000ull + now_ns / NS_OF_TICK); }

static PVOID NTAPI ExAllocateTimer(EXT_CALLBACK *callback, PVOID context, ULONG attributes) {
    AT_MOST(DISPATCH_LEVEL);
    CHECK((attributes & ~0xcu) == 0, "ExAllocateTimer with attributes %#x", attributes);
    for (int at = 0; at < MOST_TIMERS && !FAILS; at++)
        if (!timers[at].allocated) {
            timers[at] = (Timer){.allocated = true, .callback = callback, .context = context};
            return &timers[at];
        }
    return NULL;
}

static Timer *known(PVOID timer, const char *function) {
    Timer *found = timer;
    if (found < timers || found >= timers + MOST_TIMERS || !found->allocated) FATAL("%s of a timer that is deleted or never was", function);
    return found;
}

static BOOLEAN NTAPI ExSetTimer(PVOID timer, LONG64 due, LONG64 period, EXT_SET_PARAMETERS *parameters) {
    AT_MOST(DISPATCH_LEVEL);
    Timer *found = known(timer, __func__);
    BOOLEAN was_set = found->set;
    CHECK(parameters == NULL || parameters->Version == 1, "ExSetTimer with parameters of version %u", parameters != NULL ? parameters->Version : 0);
    CHECK(period >= 0, "ExSetTimer with a negative period");
    set_timer(found, due, (ULONG64)period * NS_OF_TICK);
    return was_set;
}

static BOOLEAN NTAPI ExCancelTimer(PVOID timer, PVOID parameters) {
    AT_MOST(DISPATCH_LEVEL);
    CHECK(parameters == NULL, "ExCancelTimer with parameters, which are reserved");
    Timer *found = known(timer, __func__);
    BOOLEAN was_set = found->set;
    found->set = false;
    return was_set;
}

static BOOLEAN NTAPI ExDeleteTimer(PVOID timer, BOOLEAN cancel, BOOLEAN wait, EXT_DELETE_PARAMETERS *parameters) {
    AT_MOST(wait ? APC_LEVEL : DISPATCH_LEVEL);
    Timer *found = known(timer, __func__);
    CHECK(!wait || cancel, "ExDeleteTimer that waits and does not cancel");
    CHECK(parameters == NULL || parameters->Version == 1, "ExDeleteTimer with parameters of version %u", parameters != NULL ? parameters->Version : 0);
    if (wait && found->running) FATAL("deadlock: a timer's callback waits for its own end");
    CHECK(wait, "ExDeleteTimer does not wait for a callback that may run on another processor");
    BOOLEAN was_set = found->set;
    CHECK(cancel || !was_set, "ExDeleteTimer leaves a timer that fires later");
    *found = (Timer){0};
    return was_set;
}

static void NTAPI KeFlushQueuedDpcs(void) {
    AT_MOST(PASSIVE_LEVEL);
    unflushed = false;
}

static LONG NTAPI KeSetEvent(KEVENT *event, LONG increment, BOOLEAN wait) {
    (void)increment;
    AT_MOST(wait ? APC_LEVEL : DISPATCH_LEVEL);
    LONG before = event->Header.SignalState;
    event->Header.SignalState = 1;
    return before;
}

/* Other processors go on while this one waits: time does. */
const Export time_exports[] = {
    EXPORT(KERNEL "|hal.dll", KeQueryPerformanceCounter),
    EXPORT(KERNEL, KeQuerySystemTimePrecise),
    EXPORT(KERNEL, ExAllocateTimer),
    EXPORT(KERNEL, ExSetTimer),
    EXPORT(KERNEL, ExCancelTimer),
    EXPORT(KERNEL, ExDeleteTimer),
    EXPORT(KERNEL, KeFlushQueuedDpcs),
    EXPORT(KERNEL, KeSetEvent),
    END_OF_EXPORTS,
};
