/* A conversation: each line read is done, each is answered by one line of JSON. Orders about sound are in engine.c, those about
 * the control device's own requests in control.c.
 *
 *     device add | start | stop | query-remove | surprise | remove    plug and play
 *     device sleep | wake             the port class changes the device's power
 *     device requests                 a handle to a filter and what else comes to its device -> how many reached the port class
 *     unload                          -> whether the driver could go; it cannot while somebody has a handle
 *     open NAME WHO ACCESS            opens \\.\NAME as system, administrator, console, away, remote, guest or service, for r, w or rw -> handle
 *     switch SESSION                  another session is at the console; it is 1 at first
 *     cleanup HANDLE | close HANDLE   the process has ended; nobody has a reference any more
 *     ioctl HANDLE CODE ROOM [HEX]    any request -> what it gave, in hex
 *     others HANDLE                   each request but those of open, close and ioctl -> how many were sent, and refused as unknown
 *     advance NS                      time goes on, and timers fire
 *     late NS                         timers fire up to so much too late from now on
 *     fail FUNCTION N                 its N-th call from now on fails, once
 *     failed                          -> whether it came to that
 *     memory                          -> the driver's image, what of the pool it holds, and the most that it held
 *     quit                            checks that nothing is left */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../c-host/check.h"
#include "control.h"
#include "devices.h"
#include "doubles.h"
#include "engine.h"
#include "machine.h"
#include "portcls.h"

enum { MOST_HANDLES = 16, MOST_ROOM = 65536 };

static Handle handles[MOST_HANDLES];
static bool is_unloaded;
static const Image *driver_image;

static void answer_status(NTSTATUS status) { printf("{\"status\":%u}\n", (ULONG)status); }

Handle *session_handle(const char *words) {
    unsigned at;
    return sscanf(words, "%u", &at) == 1 && at < MOST_HANDLES && handles[at].file != NULL ? &handles[at] : NULL;
}

static void answer_requests(void) {
    /* Those that the port class handles; what the driver takes for itself on its control device is another device's. */
    const UCHAR majors[] = {IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_CLOSE, IRP_MJ_POWER, IRP_MJ_SYSTEM_CONTROL};
    long before = portcls_requests();
    for (unsigned at = 0; at < sizeof majors; at++) CHECK(succeeded(driver_request(majors[at])), "request %d to the audio device fails", majors[at]);
    /* It has no handler for this one. */
    NTSTATUS cleanup = driver_request(IRP_MJ_CLEANUP);
    CHECK(cleanup == STATUS_SUCCESS || cleanup == STATUS_INVALID_DEVICE_REQUEST, "CLEANUP of the audio device gives %#x", cleanup);
    printf("{\"sent\":%zu,\"reached\":%ld}\n", sizeof majors, portcls_requests() - before);
}

static void answer_device(const char *words) {
    static const struct {
        const char *name;
        int minor;
    } orders[] = {
        {"start", IRP_MN_START_DEVICE},        {"stop", IRP_MN_STOP_DEVICE}, {"query-remove", IRP_MN_QUERY_REMOVE_DEVICE},
        {"cancel-remove", IRP_MN_CANCEL_REMOVE_DEVICE}, {"query-stop", IRP_MN_QUERY_STOP_DEVICE}, {"surprise", IRP_MN_SURPRISE_REMOVAL},
        {"remove", IRP_MN_REMOVE_DEVICE},
    };
    char name[16] = "";
    sscanf(words, "%15s", name);
    if (strcmp(name, "add") == 0) {
        answer_status(driver_add_device());
        return;
    }
    if (strcmp(name, "sleep") == 0 || strcmp(name, "wake") == 0) {
        answer_status(portcls_power(strcmp(name, "wake") == 0));
        return;
    }
    if (strcmp(name, "requests") == 0) {
        answer_requests();
        return;
    }
    for (unsigned at = 0; at < sizeof orders / sizeof orders[0]; at++) {
        if (strcmp(orders[at].name, name) != 0) continue;
        NTSTATUS status = driver_pnp((UCHAR)orders[at].minor);
        if (orders[at].minor == IRP_MN_REMOVE_DEVICE && succeeded(status)) driver_forget_device();
        answer_status(status);
        return;
    }
    printf("{\"error\":\"no such order to a device\"}\n");
}

static void answer_open(const char *words) {
    char name[64] = "", who[16] = "", access[4] = "";
    unsigned at = 0;
    sscanf(words, "%63s %15s %3s", name, who, access);
    const Token *token = security_token(who);
    while (at < MOST_HANDLES && handles[at].file != NULL) at++;
    if (token == NULL || at == MOST_HANDLES) {
        printf("{\"error\":\"open NAME WHO ACCESS\"}\n");
        return;
    }
    /* GENERIC_READ and GENERIC_WRITE, as the I/O manager maps them for a file. */
    ULONG rights = (strchr(access, 'r') != NULL ? 0x120089u : 0) | (strchr(access, 'w') != NULL ? 0x120116u : 0);
    NTSTATUS status = handle_open(name, token, rights, &handles[at]);
    printf("{\"status\":%u,\"handle\":%u}\n", (ULONG)status, at);
}

static void answer_end(const char *words, bool only_cleanup) {
    Handle *handle = session_handle(words);
    if (handle == NULL) {
        printf("{\"error\":\"no such handle\"}\n");
        return;
    }
    NTSTATUS status = handle->open ? handle_cleanup(handle) : STATUS_SUCCESS;
    if (!only_cleanup) status = handle_close(handle);
    answer_status(status);
}

static void answer_ioctl(const char *words) {
    static UCHAR input[MOST_ROOM], output[MOST_ROOM];
    static char hex[2 * MOST_ROOM + 1];
    unsigned at = 0, code = 0, room = 0;
    hex[0] = 0;
    int found = sscanf(words, "%u %i %u %131072s", &at, (int *)&code, &room, hex);
    Handle *handle = session_handle(words);
    if (found < 3 || handle == NULL || room > MOST_ROOM) {
        printf("{\"error\":\"ioctl HANDLE CODE ROOM [HEX]\"}\n");
        return;
    }
    ULONG bytes = (ULONG)strlen(hex) / 2, given = 0;
    for (ULONG byte = 0; byte < bytes; byte++) sscanf(hex + 2 * byte, "%2hhx", &input[byte]);
    NTSTATUS status = handle_control(handle, code, input, bytes, output, room, &given);
    printf("{\"status\":%u,\"given\":\"", (ULONG)status);
    for (ULONG byte = 0; byte < given; byte++) printf("%02x", output[byte]);
    printf("\"}\n");
}

static void answer_others(const char *words) {
    Handle *handle = session_handle(words);
    int sent = 0, refused = 0;
    if (handle == NULL) {
        printf("{\"error\":\"no such handle\"}\n");
        return;
    }
    for (UCHAR major = 0; major < MAJOR_FUNCTIONS; major++) {
        if (major == IRP_MJ_CREATE || major == IRP_MJ_CLOSE || major == IRP_MJ_CLEANUP || major == IRP_MJ_DEVICE_CONTROL) continue;
        sent++;
        refused += handle_other(handle, major) == STATUS_INVALID_DEVICE_REQUEST;
    }
    printf("{\"sent\":%d,\"refused\":%d}\n", sent, refused);
}

static void answer_memory(void) {
    PoolUse use = pool_use();
    printf("{\"image\":%zu,\"writable\":%zu,\"allocations\":%ld,\"bytes\":%zu,\"most_bytes\":%zu}\n", driver_image->size, loader_writable(driver_image), use.allocations, use.bytes, use.most_bytes);
}

static bool answer_order(const char *verb, const char *words) {
    if (strcmp(verb, "device") == 0) answer_device(words);
    else if (strcmp(verb, "unload") == 0) {
        is_unloaded = driver_unload();
        printf("{\"unloaded\":%s}\n", is_unloaded ? "true" : "false");
    } else if (strcmp(verb, "open") == 0) answer_open(words);
    else if (strcmp(verb, "switch") == 0) {
        security_set_console((ULONG)strtoul(words, NULL, 10));
        printf("{}\n");
    } else if (strcmp(verb, "cleanup") == 0) answer_end(words, true);
    else if (strcmp(verb, "close") == 0) answer_end(words, false);
    else if (strcmp(verb, "ioctl") == 0) answer_ioctl(words);
    else if (strcmp(verb, "others") == 0) answer_others(words);
    else if (strcmp(verb, "advance") == 0) {
        time_advance(strtoull(words, NULL, 10));
        printf("{\"now_ns\":%llu,\"counter\":%llu,\"callbacks\":%ld}\n", (unsigned long long)time_ns(), (unsigned long long)time_counter(), time_callbacks());
    } else if (strcmp(verb, "late") == 0) {
        time_set_lateness(strtoull(words, NULL, 10));
        printf("{}\n");
    } else if (strcmp(verb, "fail") == 0) {
        char function[48] = "";
        long nth = 1;
        sscanf(words, "%47s %ld", function, &nth);
        failures_order(function, nth);
        printf("{}\n");
    } else if (strcmp(verb, "failed") == 0) {
        printf("{\"failed\":%s}\n", failures_happened() ? "true" : "false");
    } else if (strcmp(verb, "memory") == 0) answer_memory();
    else return control_answer(verb, words) || engine_answer(verb, words);
    return true;
}

static void check_end_of_driver(void) {
    if (!is_unloaded) return;
    pool_check_empty();
    time_check_empty();
    security_check_empty();
    portcls_check_empty();
}

void run_session(const Image *image) {
    static char line[3 * MOST_ROOM];
    driver_image = image;
    NTSTATUS status = driver_start(image);
    printf("{\"ready\":true,\"status\":%u}\n", (ULONG)status);
    fflush(stdout);
    is_unloaded = !succeeded(status);
    while (fgets(line, sizeof line, stdin) != NULL && strncmp(line, "quit", 4) != 0) {
        char verb[24] = "";
        int length = 0;
        sscanf(line, "%23s%n", verb, &length);
        if (!answer_order(verb, line + length)) printf("{\"error\":\"unknown: %s\"}\n", verb);
        fflush(stdout);
    }
    CHECK(is_unloaded, "the driver was not unloaded, so nobody knows what it leaves behind");
    check_end_of_driver();
}
