/* The interrupt level and spin locks. */
#include <sched.h>
#include <stdatomic.h>

#include "../c-host/check.h"
#include "loader.h"
#include "machine.h"

enum { MOST_HELD = 16 };

static _Thread_local KIRQL level;
static _Thread_local KSPIN_LOCK *held[MOST_HELD];
static _Thread_local int held_count;
static _Thread_local void (*after_locks)(void);

KIRQL irql_now(void) { return level; }

void irql_after_locks(void (*call)(void)) { after_locks = call; }

void irql_at_most(KIRQL most, const char *function, PVOID caller) {
    if (level > most) CHECK(false, "%s at interrupt level %d, where it may be called up to %d (from %s)", function, level, most, loader_where(caller));
}

void irql_at_least(KIRQL least, const char *function, PVOID caller) {
    if (level < least) CHECK(false, "%s at interrupt level %d, where it may be called from %d on (from %s)", function, level, least, loader_where(caller));
}

static void set_level(KIRQL to) {
    if (level < DISPATCH_LEVEL && to >= DISPATCH_LEVEL) pool_page(true);
    if (level >= DISPATCH_LEVEL && to < DISPATCH_LEVEL) pool_page(false);
    level = to;
}

Entered irql_enter(KIRQL to, const char *what) {
    Entered entered = {level, to, held_count, what};
    set_level(to);
    return entered;
}

void irql_leave(Entered entered) {
    CHECK(level == entered.at, "%s was called at interrupt level %d and returns at %d", entered.what, entered.at, level);
    CHECK(held_count == entered.held, "%s returns with %d spin locks held", entered.what, held_count - entered.held);
    set_level(entered.before);
}

/* ---- what the driver calls ---- */

static KIRQL NTAPI KfRaiseIrql(KIRQL to) {
    KIRQL before = level;
    CHECK(to >= level, "KfRaiseIrql from level %d down to %d", level, to);
    set_level(to);
    return before;
}

static void take(KSPIN_LOCK *lock, PVOID caller) {
    for (int at = 0; at < held_count; at++)
        if (held[at] == lock) FATAL("deadlock: a spin lock is taken by the processor that holds it (from %s)", loader_where(caller));
    if (held_count == MOST_HELD) FATAL("%d spin locks are held at once", held_count);
    KSPIN_LOCK free_lock = 0;
    while (!atomic_compare_exchange_weak((_Atomic KSPIN_LOCK *)lock, &free_lock, 1)) {
        if (free_lock > 1) FATAL("a spin lock that was never initialised, or overwritten: %#llx (from %s)", (unsigned long long)free_lock, loader_where(caller));
        free_lock = 0;
        /* The other processor is a thread, which may not have one. */
        sched_yield();
    }
    held[held_count++] = lock;
}

static void let_go(KSPIN_LOCK *lock, PVOID caller) {
    if (!CHECK(held_count > 0 && held[held_count - 1] == lock, "a spin lock is released that was not the last one taken here (from %s)", loader_where(caller))) {
        int at = held_count;
        while (at > 0 && held[at - 1] != lock) at--;
        if (at == 0) return;
        for (; at < held_count; at++) held[at - 1] = held[at];
    }
    held_count--;
    atomic_store((_Atomic KSPIN_LOCK *)lock, 0);
}

static KIRQL NTAPI KeAcquireSpinLockRaiseToDpc(KSPIN_LOCK *lock) {
    AT_MOST(DISPATCH_LEVEL);
    KIRQL before = level;
    set_level(DISPATCH_LEVEL);
    take(lock, __builtin_return_address(0));
    return before;
}

static void NTAPI KeReleaseSpinLock(KSPIN_LOCK *lock, KIRQL to) {
    AT_LEAST(DISPATCH_LEVEL);
    let_go(lock, __builtin_return_address(0));
    CHECK(held_count == 0 || to >= DISPATCH_LEVEL, "KeReleaseSpinLock to level %d while another spin lock is held", to);
    CHECK(to <= level, "KeReleaseSpinLock raises the level from %d to %d", level, to);
    set_level(to);
    void (*call)(void) = after_locks;
    if (call == NULL) return;
    after_locks = NULL;
    call();
    after_locks = call;
}

const Export irql_exports[] = {
    EXPORT(KERNEL "|hal.dll", KfRaiseIrql),
    EXPORT(KERNEL, KeAcquireSpinLockRaiseToDpc),
    EXPORT(KERNEL, KeReleaseSpinLock),
    END_OF_EXPORTS,
};
