/* The machine that the driver believes to be on: interrupt level, locks, memory, time. Each double says at which level it may be
 * called (Microsoft's documentation, "IRQL" in each function's table) before it does anything. */
#ifndef TRUEMUTE_NT_HOST_MACHINE_H
#define TRUEMUTE_NT_HOST_MACHINE_H

#include "nt.h"

/* ---- interrupt level (irql.c): one per thread, since each thread of this host is a processor ---- */

KIRQL irql_now(void);
void irql_at_most(KIRQL level, const char *function, PVOID caller);
void irql_at_least(KIRQL level, const char *function, PVOID caller);
#define AT_MOST(level) irql_at_most(level, __func__, __builtin_return_address(0))
#define AT_LEAST(level) irql_at_least(level, __func__, __builtin_return_address(0))
/* Before and after a call into the driver: it comes back at the level that it was called at, and holds no lock. */
typedef struct {
    KIRQL before, at;
    int held;
    const char *what;
} Entered;
Entered irql_enter(KIRQL level, const char *what);
void irql_leave(Entered entered);
/* A call into the driver at this level; for one that returns nothing and for one that does. */
#define INTO_DRIVER(level, call)                              \
    do {                                                      \
        Entered entered_ = irql_enter(level, #call);          \
        call;                                                 \
        irql_leave(entered_);                                 \
    } while (0)
#define FROM_DRIVER(level, call)                              \
    ({                                                        \
        Entered entered_ = irql_enter(level, #call);          \
        __typeof__(call) answer_ = call;                      \
        irql_leave(entered_);                                 \
        answer_;                                              \
    })
/* Called after each spin lock that is let go, when any other processor could take it; not while it runs. NULL for nobody. */
void irql_after_locks(void (*call)(void));
extern const Export irql_exports[];

/* ---- what fails (failures.c) ---- */

/* The n-th call of this function from now on fails, once; only functions that can fail and that this host lets fail have a name here. */
void failures_order(const char *function, long nth);
/* Whether the order was carried out. */
bool failures_happened(void);
bool failures_now(const char *function);
#define FAILS failures_now(__func__)

/* ---- memory (pool.c) ---- */

/* Memory of the host's own that the driver gets to see, like pool: poisoned, with an inaccessible page behind it. */
PVOID pool_take(size_t bytes, const char *what);
void pool_give_back(PVOID memory, const char *what);
/* What the driver holds, and the most that it ever held. */
typedef struct {
    long allocations;
    size_t bytes, most_bytes;
} PoolUse;
PoolUse pool_use(void);
/* Each allocation that the driver still holds is a failed check. */
void pool_check_empty(void);
/* Paged memory cannot be touched at DISPATCH_LEVEL: it is made inaccessible meanwhile. */
void pool_page(bool out);
/* Reports accesses to freed, foreign or discarded memory, and ends the program. */
void pool_catch_faults(void);
extern const Export pool_exports[];

/* ---- time (time.c) ---- */

enum { NS_OF_TICK = 100 };

void time_set_frequency(ULONG64 hz);
ULONG64 time_frequency(void);
ULONG64 time_ns(void);
/* The performance counter. */
ULONG64 time_counter(void);
/* Timers fire so much too late, at most; by a seeded random number. */
void time_set_lateness(ULONG64 most_ns);
/* Goes on by so many nanoseconds, and runs what falls due. */
void time_advance(ULONG64 ns);
/* Called after each timer that fired, for whoever waits for what it does; NULL for nobody. */
void time_after_timers(void (*call)(void));
/* Timers that are set or not deleted; each is a failed check. */
void time_check_empty(void);
/* How often a callback of a timer ran. */
long time_callbacks(void);
/* Whether the driver has flushed what was queued since the last callback. */
bool time_is_flushed(void);
extern const Export time_exports[];

#endif
