/* Time, which stands still until somebody advances it; timers, deferred calls, events and waits. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../c-host/check.h"
#include "loader.h"
#include "machine.h"

enum { MOST_TIMERS = 64, MOST_DEFERRED = 64, EVENT_SYNCHRONIZATION = 1, EVENT_NOTIFICATION = 0 };
/* A wait that nothing ends in an hour of the driver's time never ends. */
#define LONGEST_WAIT_NS (3600ull * 1000000000)

typedef void NTAPI EXT_CALLBACK(PVOID timer, PVOID context);

typedef struct {
    ULONG Version, Reserved;
    LONG64 NoWakeTolerance;
} EXT_SET_PARAMETERS;

typedef struct {
    ULONG Version, Reserved;
    PVOID DeleteCallback, DeleteContext;
} EXT_DELETE_PARAMETERS;

/* An ExTimer, or a KTIMER that the driver keeps (then `owned` is it). */
typedef struct {
    bool allocated, set, running;
    KTIMER *owned;
    EXT_CALLBACK *callback;
    PVOID context;
    /* When it is due, and when it is served: later, by chance. */
    ULONG64 due_ns, served_ns, period_ns;
} Timer;

/* Since the boot: the driver is loaded an hour after it. */
static _Atomic ULONG64 now_ns = 3600ull * 1000000000;
static ULONG64 hz = 10000000, lateness_ns;
static Timer timers[MOST_TIMERS];
static KDPC *deferred[MOST_DEFERRED];
static int deferred_count;
static _Thread_local bool deferring;
static long callbacks;
static void (*after_timers)(void);
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

void time_set_frequency(ULONG64 to) { hz = to; }
ULONG64 time_frequency(void) { return hz; }
ULONG64 time_ns(void) { return now_ns; }
ULONG64 time_counter(void) { return (ULONG64)((unsigned __int128)now_ns * hz / 1000000000); }
void time_set_lateness(ULONG64 most_ns) { lateness_ns = most_ns; }
long time_callbacks(void) { return callbacks; }

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
    if (timer->owned != NULL) {
        timer->owned->Header.SignalState = 1;
        KDPC *dpc = timer->owned->Dpc;
        callbacks++;
        if (dpc != NULL) INTO_DRIVER(DISPATCH_LEVEL, dpc->DeferredRoutine(dpc, dpc->DeferredContext, NULL, NULL));
        return;
    }
    timer->running = true;
    callbacks++;
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

void time_run_deferred(void) {
    if (irql_now() >= DISPATCH_LEVEL || deferring) return;
    deferring = true;
    for (;;) {
        pthread_mutex_lock(&guard);
        KDPC *dpc = deferred_count > 0 ? deferred[0] : NULL;
        if (dpc != NULL) memmove(deferred, deferred + 1, (size_t)--deferred_count * sizeof deferred[0]);
        pthread_mutex_unlock(&guard);
        if (dpc == NULL) break;
        PVOID first = dpc->SystemArgument1, second = dpc->SystemArgument2;
        dpc->DpcData = NULL;
        INTO_DRIVER(DISPATCH_LEVEL, dpc->DeferredRoutine(dpc, dpc->DeferredContext, first, second));
    }
    deferring = false;
}

void time_check_empty(void) {
    for (int at = 0; at < MOST_TIMERS; at++) {
        CHECK(!timers[at].set, "a timer is left that will fire");
        CHECK(!timers[at].allocated || timers[at].owned != NULL, "leak: a timer of ExAllocateTimer");
    }
    CHECK(deferred_count == 0, "%d deferred calls are left", deferred_count);
}

/* ---- what the driver calls ---- */

static LONG64 NTAPI KeQueryPerformanceCounter(LONG64 *frequency) {
    if (frequency != NULL) *frequency = (LONG64)hz;
    return (LONG64)time_counter();
}

static ULONG64 NTAPI KeQueryInterruptTime(void) {
    AT_MOST(HIGH_LEVEL);
    return now_ns / NS_OF_TICK;
}

static ULONG64 NTAPI KeQueryInterruptTimePrecise(ULONG64 *counter) {
    if (counter != NULL) *counter = time_counter();
    return now_ns / NS_OF_TICK;
}

static ULONG64 NTAPI KeQueryUnbiasedInterruptTime(void) { return now_ns / NS_OF_TICK; }

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
    CHECK(wait || !found->running, "ExDeleteTimer does not wait for a callback that runs");
    BOOLEAN was_set = found->set;
    CHECK(cancel || !was_set, "ExDeleteTimer leaves a timer that fires later");
    *found = (Timer){0};
    return was_set;
}

static void NTAPI KeInitializeTimer(KTIMER *timer) {
    memset(timer, 0, sizeof *timer);
    timer->Header.Type = 8;
}

static void NTAPI KeInitializeTimerEx(KTIMER *timer, ULONG type) {
    KeInitializeTimer(timer);
    timer->Header.Type = (UCHAR)(8 + type);
}

static Timer *entry_of(KTIMER *timer) {
    Timer *unused = NULL;
    for (int at = 0; at < MOST_TIMERS; at++) {
        if (timers[at].allocated && timers[at].owned == timer) return &timers[at];
        if (!timers[at].allocated && unused == NULL) unused = &timers[at];
    }
    if (unused == NULL) FATAL("%d timers at once", MOST_TIMERS);
    *unused = (Timer){.allocated = true, .owned = timer};
    return unused;
}

static BOOLEAN NTAPI KeSetTimerEx(KTIMER *timer, LONG64 due, LONG period_ms, KDPC *dpc) {
    AT_MOST(DISPATCH_LEVEL);
    CHECK(timer->Header.Type == 8 || timer->Header.Type == 9, "KeSetTimerEx of a timer that was not initialised");
    Timer *entry = entry_of(timer);
    BOOLEAN was_set = entry->set;
    timer->Dpc = dpc;
    timer->Header.SignalState = 0;
    set_timer(entry, due, (ULONG64)period_ms * 1000000);
    return was_set;
}

static BOOLEAN NTAPI KeSetTimer(KTIMER *timer, LONG64 due, KDPC *dpc) { return KeSetTimerEx(timer, due, 0, dpc); }

static BOOLEAN NTAPI KeCancelTimer(KTIMER *timer) {
    AT_MOST(DISPATCH_LEVEL);
    Timer *entry = entry_of(timer);
    BOOLEAN was_set = entry->set;
    *entry = (Timer){0};
    return was_set;
}

static void NTAPI KeInitializeDpc(KDPC *dpc, KDEFERRED_ROUTINE *routine, PVOID context) {
    memset(dpc, 0, sizeof *dpc);
    dpc->Type = 19, dpc->Importance = 1;
    dpc->DeferredRoutine = routine, dpc->DeferredContext = context;
}

static BOOLEAN NTAPI KeInsertQueueDpc(KDPC *dpc, PVOID first, PVOID second) {
    CHECK(dpc->Type == 19, "KeInsertQueueDpc of one that was not initialised");
    pthread_mutex_lock(&guard);
    bool queued = dpc->DpcData == NULL && deferred_count < MOST_DEFERRED;
    if (queued) {
        dpc->DpcData = dpc, dpc->SystemArgument1 = first, dpc->SystemArgument2 = second;
        deferred[deferred_count++] = dpc;
    }
    pthread_mutex_unlock(&guard);
    time_run_deferred();
    return queued;
}

static BOOLEAN NTAPI KeRemoveQueueDpc(KDPC *dpc) {
    pthread_mutex_lock(&guard);
    int at = 0;
    while (at < deferred_count && deferred[at] != dpc) at++;
    bool found = at < deferred_count;
    if (found) memmove(deferred + at, deferred + at + 1, (size_t)(--deferred_count - at) * sizeof deferred[0]), dpc->DpcData = NULL;
    pthread_mutex_unlock(&guard);
    return found;
}

static void NTAPI KeFlushQueuedDpcs(void) {
    AT_MOST(PASSIVE_LEVEL);
    time_run_deferred();
}

static void NTAPI KeInitializeEvent(KEVENT *event, int type, BOOLEAN state) {
    memset(event, 0, sizeof *event);
    event->Header.Type = (UCHAR)type;
    event->Header.SignalState = state;
    event->Header.WaitListHead = (LIST_ENTRY){&event->Header.WaitListHead, &event->Header.WaitListHead};
}

static LONG NTAPI KeSetEvent(KEVENT *event, LONG increment, BOOLEAN wait) {
    (void)increment;
    AT_MOST(wait ? APC_LEVEL : DISPATCH_LEVEL);
    LONG before = event->Header.SignalState;
    event->Header.SignalState = 1;
    return before;
}

static void NTAPI KeClearEvent(KEVENT *event) {
    AT_MOST(DISPATCH_LEVEL);
    event->Header.SignalState = 0;
}

static LONG NTAPI KeResetEvent(KEVENT *event) {
    AT_MOST(DISPATCH_LEVEL);
    LONG before = event->Header.SignalState;
    event->Header.SignalState = 0;
    return before;
}

static LONG NTAPI KeReadStateEvent(KEVENT *event) { return event->Header.SignalState; }

/* Other processors go on while this one waits: time does. */
static NTSTATUS NTAPI KeWaitForSingleObject(PVOID object, int reason, CHAR mode, BOOLEAN alertable, const LONG64 *timeout) {
    (void)reason, (void)mode, (void)alertable;
    bool at_once = timeout != NULL && *timeout == 0;
    AT_MOST(at_once ? DISPATCH_LEVEL : APC_LEVEL);
    KEVENT *event = object;
    ULONG64 began_ns = now_ns, most_ns = LONGEST_WAIT_NS;
    if (timeout != NULL) most_ns = *timeout < 0 ? (ULONG64)-*timeout * NS_OF_TICK : 0;
    while (event->Header.SignalState <= 0 && now_ns - began_ns < most_ns) time_advance(1000000);
    if (event->Header.SignalState <= 0) {
        if (timeout == NULL) FATAL("deadlock: a wait that nothing ends");
        return STATUS_TIMEOUT;
    }
    if (event->Header.Type == EVENT_SYNCHRONIZATION) event->Header.SignalState = 0;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI KeDelayExecutionThread(CHAR mode, BOOLEAN alertable, const LONG64 *interval) {
    (void)mode, (void)alertable;
    AT_MOST(APC_LEVEL);
    if (*interval < 0) time_advance((ULONG64)-*interval * NS_OF_TICK);
    return STATUS_SUCCESS;
}

const Export time_exports[] = {
    EXPORT(KERNEL "|hal.dll", KeQueryPerformanceCounter),
    EXPORT(KERNEL, KeQueryInterruptTime),
    EXPORT(KERNEL, KeQueryInterruptTimePrecise),
    EXPORT(KERNEL, KeQueryUnbiasedInterruptTime),
    EXPORT(KERNEL, KeQuerySystemTimePrecise),
    EXPORT(KERNEL, ExAllocateTimer),
    EXPORT(KERNEL, ExSetTimer),
    EXPORT(KERNEL, ExCancelTimer),
    EXPORT(KERNEL, ExDeleteTimer),
    EXPORT(KERNEL, KeInitializeTimer),
    EXPORT(KERNEL, KeInitializeTimerEx),
    EXPORT(KERNEL, KeSetTimer),
    EXPORT(KERNEL, KeSetTimerEx),
    EXPORT(KERNEL, KeCancelTimer),
    EXPORT(KERNEL, KeInitializeDpc),
    EXPORT(KERNEL, KeInsertQueueDpc),
    EXPORT(KERNEL, KeRemoveQueueDpc),
    EXPORT(KERNEL, KeFlushQueuedDpcs),
    EXPORT(KERNEL, KeInitializeEvent),
    EXPORT(KERNEL, KeSetEvent),
    EXPORT(KERNEL, KeClearEvent),
    EXPORT(KERNEL, KeResetEvent),
    EXPORT(KERNEL, KeReadStateEvent),
    EXPORT(KERNEL, KeWaitForSingleObject),
    EXPORT(KERNEL, KeDelayExecutionThread),
    END_OF_EXPORTS,
};
