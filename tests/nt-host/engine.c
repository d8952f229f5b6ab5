/* The audio engine's side of the stream, and whose ear every frame comes to.
 *
 * The sound that is expected is a ramp: the left sample of the frame at a position of the driver's clock is (position mod 2^30) + 1, the
 * right one the feeder's tag, never 0. So every frame tells where it belongs and from which stretch of feeding it comes.
 *
 *     filters                          what a peer reads of both filters (filters.c)
 *     pin [RATE CHANNELS BITS FLOAT]   NewStream in this format (48000 2 32 0)
 *     unpin                            gives the stream up
 *     repin                            the same, and another processor opens the next one as soon as the driver lets it -> whether it could
 *     buffer BYTES PACKETS             with packets and an event, or without (0)
 *     free                             gives the buffer back
 *     state stop | acquire | pause | run
 *     position                         -> where it is in the buffer
 *     packet                           fetches one packet and listens
 *     play PERIODS NS                  so many times: NS go by, packets are fetched when the event is set, the feeder feeds -> what was heard
 *     hold PERIODS NS                  the same, and nobody fetches
 *     look                             -> how many bytes of the whole buffer are not zero
 *     race ROUNDS                      mutes while another processor is in the driver (race.c)
 *     time ROUNDS                      -> nanoseconds of a period's work and what is beside it (timing.c) */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../c-host/check.h"
#include "control.h"
#include "filters.h"
#include "machine.h"
#include "race.h"
#include "timing.h"

enum { MOST_TAGS = 16, PAGE = 4096, CACHED = 1, FRAME = 8 };

typedef struct {
    IPortWaveRTStream port;
    LONG references;
    MDL *pages;
    UCHAR *memory;
    bool mapped;
} Side;

/* The port's side of the stream that there is; of the next one, it is the other. */
static Side sides[2], *side = &sides[0];
static IMiniportWaveRTStream *stream;
static IMiniportWaveRTStreamNotification *notification;
static IMiniportWaveRTInputStream *input;
static KEVENT *event;
static MDL *buffer;
static ULONG buffer_bytes, packet_count;

/* ---- the port's side of a stream ---- */

static void check_side(const IPortWaveRTStream *self) { CHECK(self == &side->port, "the driver calls the port's side of another stream than the one that there is"); }

static NTSTATUS NTAPI side_query(IPortWaveRTStream *self, const GUID *id, PVOID *found) {
    (void)id;
    side->references++;
    *found = self;
    return STATUS_SUCCESS;
}
static ULONG NTAPI side_add(IPortWaveRTStream *self) { return (void)self, (ULONG)++side->references; }
static ULONG NTAPI side_release(IPortWaveRTStream *self) { return (void)self, (ULONG)--side->references; }

static MDL *NTAPI AllocatePagesForMdl(IPortWaveRTStream *self, ULONG64 high, SIZE_T bytes) {
    (void)high;
    AT_MOST(PASSIVE_LEVEL);
    check_side(self);
    CHECK(side->pages == NULL, "pages are allocated while the stream has some");
    if (FAILS || bytes == 0 || bytes > 64u << 20) return NULL;
    side->pages = pool_take(sizeof *side->pages, "a list of pages");
    /* To whole pages, as pages go. */
    side->memory = pool_take((bytes + PAGE - 1) / PAGE * PAGE, "pages of a stream");
    *side->pages = (MDL){.Size = sizeof(MDL), .StartVa = NULL, .ByteCount = (ULONG)bytes};
    return side->pages;
}

static MDL *NTAPI side_allocate_contiguous(IPortWaveRTStream *self, ULONG64 low, ULONG64 high, SIZE_T bytes) {
    (void)low;
    return AllocatePagesForMdl(self, high, bytes);
}

static PVOID NTAPI MapAllocatedPages(IPortWaveRTStream *self, MDL *pages, int cache) {
    AT_MOST(PASSIVE_LEVEL);
    check_side(self);
    if (FAILS) return NULL;
    CHECK(pages == side->pages && pages != NULL && !side->mapped, "MapAllocatedPages of pages that are not the stream's, or twice");
    CHECK(cache == CACHED, "MapAllocatedPages with caching %d: the audio engine maps the pages cached", cache);
    side->mapped = true;
    return side->memory;
}

static void NTAPI side_unmap(IPortWaveRTStream *self, PVOID base, MDL *pages) {
    AT_MOST(PASSIVE_LEVEL);
    check_side(self);
    CHECK(side->mapped && base == side->memory && pages == side->pages, "UnmapAllocatedPages of what is not mapped");
    side->mapped = false;
}

static void NTAPI side_free(IPortWaveRTStream *self, MDL *pages) {
    AT_MOST(PASSIVE_LEVEL);
    check_side(self);
    if (!CHECK(pages == side->pages && pages != NULL, "FreePagesFromMdl of pages that are not the stream's")) return;
    CHECK(!side->mapped, "FreePagesFromMdl while the pages are mapped");
    pool_give_back(side->memory, "pages of a stream");
    pool_give_back(side->pages, "a list of pages");
    side->pages = NULL, side->memory = NULL;
}

static ULONG NTAPI side_count(IPortWaveRTStream *self, MDL *pages) { return (void)self, (pages->ByteCount + PAGE - 1) / PAGE; }
static ULONG64 NTAPI side_address(IPortWaveRTStream *self, MDL *pages, ULONG at) { return (void)self, (void)pages, at * (ULONG64)PAGE; }
static const IPortWaveRTStreamTable side_table = {side_query, side_add, side_release, AllocatePagesForMdl, side_allocate_contiguous, MapAllocatedPages, side_unmap, side_free, side_count, side_address};

/* ---- opening and closing ---- */

static void answer_status(NTSTATUS status) { printf("{\"status\":%u}\n", (ULONG)status); }

/* NewStream, for this side of the port's. Gives the stream. */
static NTSTATUS new_stream(Side *to, const KSDATAFORMAT_WAVEFORMATEXTENSIBLE *wanted, IMiniportWaveRTStream **opened) {
    IMiniportWaveRT *miniport = (IMiniportWaveRT *)(void *)portcls_wave()->miniport;
    /* In memory of its own, which is gone after the call. */
    KSDATAFORMAT_WAVEFORMATEXTENSIBLE *format = pool_take(sizeof *format, "a format");
    *format = *wanted;
    *to = (Side){.port = {&side_table}, .references = 1};
    *opened = NULL;
    NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, miniport->table->NewStream(miniport, opened, &to->port, filters_streaming_pin(), 1, &format->DataFormat));
    pool_give_back(format, "a format");
    CHECK(succeeded(status) == (*opened != NULL), "NewStream gives %#x, and %s stream", status, *opened != NULL ? "a" : "no");
    return status;
}

/* This is the stream from now on. */
static void take_stream(Side *to, IMiniportWaveRTStream *opened) {
    const GUID notifies = IID_IMiniportWaveRTStreamNotification, reads = IID_IMiniportWaveRTInputStream;
    PVOID found = NULL;
    side = to, stream = opened;
    CHECK(succeeded(FROM_DRIVER(PASSIVE_LEVEL, stream->table->QueryInterface(stream, &notifies, &found))), "the stream has no IMiniportWaveRTStreamNotification");
    notification = found;
    CHECK(succeeded(FROM_DRIVER(PASSIVE_LEVEL, stream->table->QueryInterface(stream, &reads, &found))), "the stream has no IMiniportWaveRTInputStream");
    input = found;
}

static Side *next_side(void) { return side == &sides[0] ? &sides[1] : &sides[0]; }

static void open_pin(const char *words) {
    unsigned rate = 48000, channels = 2, bits = 32, is_float = 0;
    sscanf(words, "%u %u %u %u", &rate, &channels, &bits, &is_float);
    if (portcls_wave() == NULL) {
        printf("{\"error\":\"there is no wave filter\"}\n");
        return;
    }
    const KSDATAFORMAT_WAVEFORMATEXTENSIBLE format = filters_format(rate, channels, bits, is_float != 0);
    IMiniportWaveRTStream *opened = NULL;
    NTSTATUS status = new_stream(next_side(), &format, &opened);
    if (CHECK(!succeeded(status) || stream == NULL, "NewStream gives a second stream") && succeeded(status)) take_stream(next_side(), opened);
    answer_status(status);
}

static void free_buffer(void) {
    if (event != NULL) {
        NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, notification->table->UnregisterNotificationEvent(notification, event));
        CHECK(succeeded(status), "UnregisterNotificationEvent: %#x", status);
        pool_give_back(event, "an event");
        event = NULL;
    }
    if (buffer == NULL) return;
    if (packet_count > 0) INTO_DRIVER(PASSIVE_LEVEL, notification->table->FreeBufferWithNotification(notification, buffer, buffer_bytes));
    else INTO_DRIVER(PASSIVE_LEVEL, stream->table->FreeAudioBuffer(stream, buffer, buffer_bytes));
    CHECK(side->pages == NULL, "the buffer's pages are still there after it was given back");
    buffer = NULL;
}

static void close_pin(void) {
    if (stream == NULL) return;
    INTO_DRIVER(PASSIVE_LEVEL, input->table->Release(input));
    INTO_DRIVER(PASSIVE_LEVEL, notification->table->Release(notification));
    INTO_DRIVER(PASSIVE_LEVEL, stream->table->Release(stream));
    CHECK(time_is_flushed(), "a stream is freed while a callback of its timer may still be queued: nothing flushed them (KeFlushQueuedDpcs)");
    CHECK(side->references == 1, "the driver keeps %d references to the port's side of a stream", side->references - 1);
    CHECK(side->pages == NULL, "leak: the pages of a stream");
    stream = NULL, notification = NULL, input = NULL;
}

/* What another processor does meanwhile, at each moment at which it could. */
static IMiniportWaveRTStream *reopened;

static void open_meanwhile(void) {
    const KSDATAFORMAT_WAVEFORMATEXTENSIBLE format = filters_format(48000, 2, 32, false);
    if (reopened == NULL) new_stream(next_side(), &format, &reopened);
}

static void reopen_pin(void) {
    reopened = NULL;
    irql_after_locks(open_meanwhile);
    close_pin();
    irql_after_locks(NULL);
    if (reopened != NULL) take_stream(next_side(), reopened);
    printf("{\"reopened\":%s}\n", reopened != NULL ? "true" : "false");
}

static NTSTATUS take_buffer(ULONG bytes, ULONG packets) {
    MDL *pages = NULL;
    ULONG actual = 0, offset = 7;
    int cache = -1;
    NTSTATUS status = packets > 0 ? FROM_DRIVER(PASSIVE_LEVEL, notification->table->AllocateBufferWithNotification(notification, packets, bytes, &pages, &actual, &offset, &cache))
                                  : FROM_DRIVER(PASSIVE_LEVEL, stream->table->AllocateAudioBuffer(stream, bytes, &pages, &actual, &offset, &cache));
    if (!succeeded(status)) return status;
    CHECK(pages == side->pages && pages != NULL && offset == 0 && cache == CACHED && actual > 0 && actual <= bytes, "a buffer of %u bytes at %u with caching %d", actual, offset, cache);
    buffer = pages, buffer_bytes = actual, packet_count = packets;
    for (ULONG at = 0; at < actual; at++)
        if (!CHECK(side->memory[at] == 0, "a new buffer is not all zeros, at byte %u", at)) break;
    if (packets == 0) return status;
    event = pool_take(sizeof *event, "an event");
    memset(event, 0, sizeof *event);
    event->Header.Type = 1, event->Header.Size = sizeof *event / 4;
    event->Header.WaitListHead = (LIST_ENTRY){&event->Header.WaitListHead, &event->Header.WaitListHead};
    NTSTATUS registered = FROM_DRIVER(PASSIVE_LEVEL, notification->table->RegisterNotificationEvent(notification, event));
    CHECK(succeeded(registered), "RegisterNotificationEvent: %#x", registered);
    return status;
}

static NTSTATUS set_state(const char *name) {
    static const char *const names[] = {"stop", "acquire", "pause", "run"};
    for (int state = 0; state < 4; state++)
        if (strcmp(names[state], name) == 0) return FROM_DRIVER(PASSIVE_LEVEL, stream->table->SetState(stream, (KSSTATE)state));
    return STATUS_INVALID_PARAMETER;
}

/* ---- listening ---- */

typedef struct {
    /* Packets that were all zeros, all ramp, both, or had a frame that is neither; and their frames. */
    long silent, live, mixed, foreign;
    long long silent_frames, live_frames;
    long fetched, gaps, events;
    int32_t tags[MOST_TAGS];
    int tag_count;
    ULONG64 first_live, last_live;
} Heard;

/* Where the ramp and the packet's own time stamp disagree by more than a frame, the packet is not where it says. */
static bool is_at(ULONG64 counter, ULONG64 position) {
    ULONG64 host_ns = 0, anchor = 0;
    const Handle *handle = feeder_handle();
    if (handle == NULL || !control_clock(handle, &host_ns, &anchor)) return true;
    LONG64 ns = (LONG64)((unsigned __int128)counter * 1000000000 / time_frequency()) - (LONG64)host_ns;
    LONG64 expected = (LONG64)anchor + ns * 48 / 1000000;
    return expected - (LONG64)position <= 1 && (LONG64)position - expected <= 1;
}

static void hear(Heard *heard, const UCHAR *bytes, ULONG frames, ULONG64 counter) {
    static const UCHAR zeros[FRAME];
    long silent = 0, foreign = 0;
    ULONG64 last = 0;
    bool any = false;
    for (ULONG at = 0; at < frames; at++) {
        int32_t frame[2];
        if (memcmp(bytes + at * FRAME, zeros, FRAME) == 0) {
            silent++;
            continue;
        }
        memcpy(frame, bytes + at * FRAME, FRAME);
        ULONG64 position = (ULONG64)(frame[0] - 1);
        /* The first frame of sound gives the ramp's place in this packet; the packet's own time must agree. */
        if (!any) last = position - 1;
        if (frame[0] <= 0 || frame[1] == 0 || (any && position != last + 1)) foreign++;
        if (!any && !is_at(counter, position - at)) foreign++;
        any = true, last = position;
        if (heard->first_live == 0) heard->first_live = position;
        heard->last_live = position;
        int tag = 0;
        while (tag < heard->tag_count && heard->tags[tag] != frame[1]) tag++;
        if (tag == heard->tag_count && tag < MOST_TAGS) heard->tags[heard->tag_count++] = frame[1];
    }
    heard->silent_frames += silent, heard->live_frames += (long)frames - silent;
    if (foreign > 0) heard->foreign++;
    else if (any && silent > 0) heard->mixed++;
    else if (any) heard->live++;
    else heard->silent++;
}

static ULONG next_number;

/* Fetches one packet, if there is one. */
static NTSTATUS fetch(Heard *heard, bool *more) {
    ULONG number = 0xdeadbeef, flags = 0xdeadbeef;
    ULONG64 counter = 0;
    LONG left = -1;
    *more = false;
    NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, input->table->GetReadPacket(input, &number, &flags, &counter, &left));
    if (!succeeded(status)) return status;
    ULONG bytes = buffer_bytes / packet_count;
    CHECK(flags == 0 && (left == 0 || left == 1), "GetReadPacket: flags %u, more %d", flags, left);
    CHECK(counter <= time_counter(), "a packet of the future");
    if (number != next_number) heard->gaps++;
    next_number = number + 1;
    hear(heard, side->memory + number % packet_count * bytes, bytes / FRAME, counter);
    heard->fetched++;
    *more = left == 1;
    return status;
}

static Heard *listener;

/* The audio engine wakes when the event is set, and fetches all that is complete. */
static void wake(void) {
    Heard *heard = listener;
    if (event == NULL || event->Header.SignalState == 0) return;
    event->Header.SignalState = 0;
    heard->events++;
    for (bool more = true; more;)
        if (!succeeded(fetch(heard, &more))) break;
}

static void print_heard(const Heard *heard) {
    printf("{\"silent\":%ld,\"live\":%ld,\"mixed\":%ld,\"foreign\":%ld,\"silent_frames\":%lld,\"live_frames\":%lld,\"fetched\":%ld,\"gaps\":%ld,\"events\":%ld,\"first_live\":%llu,"
           "\"last_live\":%llu,\"tags\":[",
           heard->silent, heard->live, heard->mixed, heard->foreign, heard->silent_frames, heard->live_frames, heard->fetched, heard->gaps, heard->events,
           (unsigned long long)heard->first_live, (unsigned long long)heard->last_live);
    for (int tag = 0; tag < heard->tag_count; tag++) printf("%s%d", tag > 0 ? "," : "", heard->tags[tag]);
    printf("]}\n");
}

static void answer_play(const char *words, bool fetches) {
    unsigned long long periods, ns;
    Heard heard = {0};
    if (sscanf(words, "%llu %llu", &periods, &ns) != 2) {
        printf("{\"error\":\"play PERIODS NS\"}\n");
        return;
    }
    listener = &heard;
    time_after_timers(fetches && stream != NULL ? wake : NULL);
    for (unsigned long long period = 0; period < periods; period++) {
        time_advance(ns);
        feeder_step();
    }
    time_after_timers(NULL);
    print_heard(&heard);
}

static void answer_packet(void) {
    Heard heard = {0};
    bool more;
    NTSTATUS status = fetch(&heard, &more);
    printf("{\"status\":%u,\"live\":%ld,\"silent\":%ld,\"more\":%s}\n", (ULONG)status, heard.live, heard.silent, more ? "true" : "false");
}

static void answer_look(void) {
    long filled = 0;
    for (ULONG at = 0; at < buffer_bytes && side->memory != NULL; at++) filled += side->memory[at] != 0;
    printf("{\"bytes\":%u,\"filled\":%ld}\n", buffer_bytes, filled);
}

bool engine_answer(const char *verb, const char *words) {
    char name[16] = "";
    sscanf(words, "%15s", name);
    if (strcmp(verb, "filters") == 0) print_filters();
    else if (strcmp(verb, "pin") == 0) open_pin(words);
    else if (strcmp(verb, "play") == 0) answer_play(words, true);
    else if (strcmp(verb, "hold") == 0) answer_play(words, false);
    else if (strcmp(verb, "look") == 0) answer_look();
    else if (strcmp(verb, "unpin") == 0) close_pin(), answer_status(STATUS_SUCCESS);
    else if (strcmp(verb, "repin") == 0) reopen_pin();
    else if (strcmp(verb, "free") == 0) free_buffer(), answer_status(STATUS_SUCCESS);
    else if (stream == NULL) return false;
    else if (strcmp(verb, "buffer") == 0) {
        unsigned bytes = 0, packets = 0;
        sscanf(words, "%u %u", &bytes, &packets);
        next_number = 0;
        NTSTATUS status = take_buffer(bytes, packets);
        printf("{\"status\":%u,\"bytes\":%u}\n", (ULONG)status, succeeded(status) ? buffer_bytes : 0);
    } else if (strcmp(verb, "state") == 0) {
        if (strcmp(name, "stop") == 0) next_number = 0;
        answer_status(set_state(name));
    } else if (strcmp(verb, "position") == 0) {
        KSAUDIO_POSITION position = {1, 1};
        NTSTATUS status = FROM_DRIVER(PASSIVE_LEVEL, stream->table->GetPosition(stream, &position));
        printf("{\"status\":%u,\"play\":%llu,\"write\":%llu}\n", (ULONG)status, (unsigned long long)position.PlayOffset, (unsigned long long)position.WriteOffset);
    } else if (strcmp(verb, "packet") == 0) answer_packet();
    else if (strcmp(verb, "race") == 0) answer_race(input, side->memory, buffer_bytes, (int)strtol(words, NULL, 10));
    else if (strcmp(verb, "time") == 0) answer_timing(input, side->memory, buffer_bytes, (int)strtol(words, NULL, 10));
    else return false;
    return true;
}
