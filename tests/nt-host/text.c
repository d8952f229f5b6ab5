/* The kernel's strings, memory routines and messages. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../c-host/check.h"
#include "doubles.h"
#include "loader.h"

bool text_of(const UNICODE_STRING *string, char *text, size_t room) {
    size_t length = string->Length / 2u;
    CHECK(string->Length % 2 == 0 && string->Length <= string->MaximumLength, "a UNICODE_STRING of length %u and room %u", string->Length, string->MaximumLength);
    if (length >= room) return false;
    for (size_t at = 0; at < length; at++) {
        if (string->Buffer[at] == 0 || string->Buffer[at] > 0x7e) return false;
        text[at] = (char)string->Buffer[at];
    }
    text[length] = 0;
    return true;
}

static void NTAPI RtlInitUnicodeString(UNICODE_STRING *string, const WCHAR *source) {
    size_t length = 0;
    while (source != NULL && source[length] != 0) length++;
    string->Length = (USHORT)(length * 2);
    string->MaximumLength = (USHORT)(source != NULL ? length * 2 + 2 : 0);
    string->Buffer = (WCHAR *)(uintptr_t)source;
}

enum { MOST_LACKS = 8 };
static const char *lacks[MOST_LACKS];
static int lack_count;

void text_lack(const char *name) {
    if (lack_count == MOST_LACKS) FATAL("%d names are lacking", MOST_LACKS);
    lacks[lack_count++] = name;
}

/* What a driver may ask for at run time, because not every Windows has it. Unknown names are as wrong as unknown imports. */
static PVOID NTAPI MmGetSystemRoutineAddress(const UNICODE_STRING *name) {
    char text[64];
    AT_MOST(PASSIVE_LEVEL);
    PVOID found = text_of(name, text, sizeof text) ? loader_find(KERNEL, text) : NULL;
    for (int at = 0; at < lack_count; at++)
        if (strcmp(lacks[at], text) == 0) return NULL;
    CHECK(found != NULL, "the driver asks for %s at run time, which this host does not know", text);
    return found;
}

static SIZE_T NTAPI RtlCompareMemory(const void *one, const void *other, SIZE_T bytes) {
    const UCHAR *a = one, *b = other;
    SIZE_T at = 0;
    while (at < bytes && a[at] == b[at]) at++;
    return at;
}

static _Noreturn void NTAPI KeBugCheckEx(ULONG code, ULONG64 a, ULONG64 b, ULONG64 c, ULONG64 d) {
    FATAL("the driver stops the system: %#x (%#llx, %#llx, %#llx, %#llx), from %s", code, (unsigned long long)a, (unsigned long long)b, (unsigned long long)c, (unsigned long long)d,
          loader_where(__builtin_return_address(0)));
}

const Export text_exports[] = {
    EXPORT(KERNEL, RtlInitUnicodeString),
    EXPORT(KERNEL, MmGetSystemRoutineAddress),
    EXPORT(KERNEL, RtlCompareMemory),
    EXPORT(KERNEL, KeBugCheckEx),
    END_OF_EXPORTS,
};
