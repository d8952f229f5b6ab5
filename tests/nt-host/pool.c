/* Memory. Each allocation lies at the end of pages of its own, with inaccessible ones behind it, as under Driver Verifier's special
 * pool; freed ones stay inaccessible until thousands more were freed. What was never written is poison. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "../c-host/check.h"
#include "loader.h"
#include "machine.h"

enum { PAGE = 4096, MOST = 16384, POISON = 0xcd, SLACK = 0xfd, PREFIX = 0xfc };

/* wdm.h, POOL_FLAGS */
#define POOL_FLAG_UNINITIALIZED 0x2ull
#define POOL_FLAG_NON_PAGED 0x40ull
#define POOL_FLAG_NON_PAGED_EXECUTE 0x80ull
#define POOL_FLAG_PAGED 0x100ull
/* wdm.h, POOL_TYPE */
enum { NonPagedPool = 0, PagedPool = 1, NonPagedPoolNx = 512 };

typedef enum { FREE, LIVE, FREED } State;

typedef struct {
    State state;
    UCHAR *pages, *memory;
    size_t mapped, bytes;
    ULONG tag;
    bool paged;
    /* The host's own, which the driver may see and not keep. */
    const char *own;
} Block;

static Block blocks[MOST];
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static PoolUse use;
static atomic_int paged_blocks;

static size_t whole_pages(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

/* An unused entry, or that of what was freed longest ago. */
static Block *new_block(void) {
    static unsigned next;
    for (unsigned times = 0; times < MOST; times++) {
        Block *block = &blocks[next++ % MOST];
        if (block->state == LIVE) continue;
        if (block->state == FREED) munmap(block->pages, block->mapped);
        return block;
    }
    FATAL("%d allocations at once", MOST);
}

static PVOID take(size_t bytes, int fill, ULONG tag, bool paged, const char *own) {
    size_t room = whole_pages(bytes), mapped = room + PAGE;
    UCHAR *pages = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) FATAL("no memory for %zu bytes", bytes);
    mprotect(pages + room, PAGE, PROT_NONE);
    /* Pool is aligned to 16 bytes on x64, to a page from a page on. */
    UCHAR *memory = bytes >= PAGE ? pages : pages + (room - bytes) / 16 * 16;
    memset(pages, PREFIX, (size_t)(memory - pages));
    memset(memory, fill, bytes);
    memset(memory + bytes, SLACK, room - (size_t)(memory - pages) - bytes);
    pthread_mutex_lock(&guard);
    *new_block() = (Block){LIVE, pages, memory, mapped, bytes, tag, paged, own};
    if (own == NULL) {
        use.allocations++, use.bytes += bytes;
        if (use.bytes > use.most_bytes) use.most_bytes = use.bytes;
    }
    if (paged) paged_blocks++;
    pthread_mutex_unlock(&guard);
    return memory;
}

static Block *block_of(const void *memory) {
    for (unsigned at = 0; at < MOST; at++)
        if (blocks[at].state != FREE && blocks[at].memory == memory) return &blocks[at];
    return NULL;
}

static const char *tag_text(ULONG tag) {
    static _Thread_local char text[5];
    memcpy(text, &tag, 4);
    return text;
}

/* Whether what lies around the allocation is as it was. */
static bool is_whole(const Block *block) {
    for (const UCHAR *at = block->pages; at < block->memory; at++)
        if (*at != PREFIX) return false;
    for (const UCHAR *at = block->memory + block->bytes; at < block->pages + block->mapped - PAGE; at++)
        if (*at != SLACK) return false;
    return true;
}

static void give_back(PVOID memory, const ULONG *tag, const char *own, PVOID caller) {
    pthread_mutex_lock(&guard);
    /* The one that lives, should the address have come again. */
    Block *block = NULL;
    for (unsigned at = 0; at < MOST && block == NULL; at++)
        if (blocks[at].state == LIVE && blocks[at].memory == memory) block = &blocks[at];
    if (block == NULL) block = block_of(memory);
    if (block == NULL) FATAL("memory is freed that was never allocated (from %s)", loader_where(caller));
    if (block->state == FREED) FATAL("double free of %zu bytes, tag %s (from %s)", block->bytes, tag_text(block->tag), loader_where(caller));
    CHECK((block->own == NULL) == (own == NULL), "%s is freed as if it were the driver's (from %s)", block->own != NULL ? block->own : own, loader_where(caller));
    if (tag != NULL && *tag != 0 && own == NULL) CHECK(*tag == block->tag, "memory with tag %s is freed with another (from %s)", tag_text(block->tag), loader_where(caller));
    CHECK(is_whole(block), "memory before or behind %zu bytes with tag %s was written to", block->bytes, tag_text(block->tag));
    block->state = FREED;
    if (own == NULL) use.allocations--, use.bytes -= block->bytes;
    if (block->paged) paged_blocks--;
    madvise(block->pages, block->mapped, MADV_DONTNEED);
    mprotect(block->pages, block->mapped, PROT_NONE);
    pthread_mutex_unlock(&guard);
}

PVOID pool_take(size_t bytes, const char *what) { return take(bytes, POISON, 0, false, what); }
void pool_give_back(PVOID memory, const char *what) { give_back(memory, NULL, what, NULL); }
PoolUse pool_use(void) { return use; }
void pool_check_empty(void) {
    for (unsigned at = 0; at < MOST; at++) {
        const Block *block = &blocks[at];
        if (block->state == LIVE && block->own == NULL) CHECK(false, "leak: %zu bytes with tag %s", block->bytes, tag_text(block->tag));
    }
    CHECK(use.allocations == 0, "%ld allocations are left", use.allocations);
}

void pool_page(bool out) {
    if (paged_blocks == 0) return;
    pthread_mutex_lock(&guard);
    for (unsigned at = 0; at < MOST; at++) {
        const Block *block = &blocks[at];
        if (block->state == LIVE && block->paged) mprotect(block->pages, block->mapped - PAGE, out ? PROT_NONE : PROT_READ | PROT_WRITE);
    }
    pthread_mutex_unlock(&guard);
}

static void report(int signal, siginfo_t *about, void *context) {
    const ucontext_t *registers = context;
    const void *from = (const void *)registers->uc_mcontext.gregs[REG_RIP];
    const UCHAR *address = about->si_addr;
    for (unsigned at = 0; at < MOST; at++) {
        const Block *block = &blocks[at];
        if (block->state == FREE || address < block->pages || address >= block->pages + block->mapped) continue;
        const char *what = block->state == FREED ? "use after free of" : block->paged && irql_now() >= DISPATCH_LEVEL ? "a page fault at DISPATCH_LEVEL in" : "an access beyond";
        FATAL("%s %zu bytes with tag %s, at offset %td (from %s)", what, block->bytes, block->own != NULL ? block->own : tag_text(block->tag), address - block->memory, loader_where(from));
    }
    FATAL("signal %d: an access to %p, which is %s (from %s)", signal, (const void *)address, loader_where(address), loader_where(from));
}

void pool_catch_faults(void) {
    /* A stack of its own: what overflowed may be the ordinary one. */
    static UCHAR stack[64 * 1024];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&other, NULL);
    struct sigaction action = {.sa_sigaction = report, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    for (unsigned at = 0; at < sizeof signals / sizeof signals[0]; at++) sigaction(signals[at], &action, NULL);
}

/* ---- what the driver calls ---- */

static PVOID NTAPI ExAllocatePool2(ULONG64 flags, SIZE_T bytes, ULONG tag) {
    bool paged = flags & POOL_FLAG_PAGED;
    AT_MOST(paged ? APC_LEVEL : DISPATCH_LEVEL);
    CHECK(bytes > 0 && tag != 0, "ExAllocatePool2 of %zu bytes with tag %#x", (size_t)bytes, tag);
    CHECK(!(flags & POOL_FLAG_NON_PAGED_EXECUTE), "memory that can be executed is asked for");
    CHECK(paged != !!(flags & POOL_FLAG_NON_PAGED), "ExAllocatePool2 with flags %#llx: paged or not?", (unsigned long long)flags);
    if (FAILS) return NULL;
    return take(bytes, flags & POOL_FLAG_UNINITIALIZED ? POISON : 0, tag, paged, NULL);
}

static void NTAPI ExFreePoolWithTag(PVOID memory, ULONG tag) {
    AT_MOST(DISPATCH_LEVEL);
    give_back(memory, &tag, NULL, __builtin_return_address(0));
}

const Export pool_exports[] = {
    EXPORT(KERNEL, ExAllocatePool2),
    EXPORT(KERNEL, ExFreePoolWithTag),
    END_OF_EXPORTS,
};
