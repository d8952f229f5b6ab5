/* Security. The layouts are those of winnt.h's SECURITY_DESCRIPTOR, ACL, ACCESS_ALLOWED_ACE and SID. */
#include "security.h"

#include <string.h>

#include "../c-host/check.h"
#include "doubles.h"
#include "loader.h"

enum {
    ACE_ALLOWED = 0,
    ACE_DENIED = 1,
    SE_DACL_PRESENT = 4,
    SE_DACL_PROTECTED = 0x1000,
    SE_SELF_RELATIVE = 0x8000,
    DACL_SECURITY_INFORMATION = 4,
    FIRST_SESSION = 1,
    MOST_OBJECT_HANDLES = 16,
};
#define PROTECTED_DACL_SECURITY_INFORMATION 0x80000000u

typedef struct {
    UCHAR Revision, Sbz1;
    USHORT Control;
    PVOID Owner, Group, Sacl, Dacl;
} SECURITY_DESCRIPTOR;

/* The same in one piece: where the parts begin, in bytes. */
typedef struct {
    UCHAR Revision, Sbz1;
    USHORT Control;
    ULONG Owner, Group, Sacl, Dacl;
} SECURITY_DESCRIPTOR_RELATIVE;

typedef struct {
    UCHAR AclRevision, Sbz1;
    USHORT AclSize, AceCount, Sbz2;
} ACL;

typedef struct {
    UCHAR AceType, AceFlags;
    USHORT AceSize;
    ULONG Mask;
    UCHAR Sid[];
} ACE;

/* ---- tokens ---- */

#define SID(authority, count, ...) {1, count, {0, 0, 0, 0, 0, authority}, {__VA_ARGS__}}
#define EVERYONE SID(1, 1, 0)
#define LOCAL SID(2, 1, 0)
#define CONSOLE_LOGON SID(2, 1, 1)
#define INTERACTIVE SID(5, 1, 4)
#define REMOTE_INTERACTIVE SID(5, 1, 14)
#define SERVICE SID(5, 1, 6)
#define AUTHENTICATED SID(5, 1, 11)
#define SYSTEM SID(5, 1, 18)
#define LOCAL_SERVICE SID(5, 1, 19)
#define ADMINISTRATORS SID(5, 2, 32, 544)
#define USERS SID(5, 2, 32, 545)
#define GUESTS SID(5, 2, 32, 546)
#define PERSON(number) SID(5, 5, 21, 1, 2, 3, number)

static const Token tokens[] = {
    {"system", SYSTEM, {EVERYONE, AUTHENTICATED, ADMINISTRATORS}, 3, 0},
    {"administrator", PERSON(500), {EVERYONE, AUTHENTICATED, ADMINISTRATORS, USERS, INTERACTIVE, CONSOLE_LOGON, LOCAL}, 7, FIRST_SESSION},
    {"console", PERSON(1001), {EVERYONE, AUTHENTICATED, USERS, INTERACTIVE, CONSOLE_LOGON, LOCAL}, 6, FIRST_SESSION},
    /* Logged on there as well, and then somebody else's turn came. */
    {"away", PERSON(1003), {EVERYONE, AUTHENTICATED, USERS, INTERACTIVE, CONSOLE_LOGON, LOCAL}, 6, 4},
    {"remote", PERSON(1002), {EVERYONE, AUTHENTICATED, USERS, INTERACTIVE, REMOTE_INTERACTIVE}, 5, 2},
    {"guest", PERSON(501), {EVERYONE, GUESTS}, 2, 3},
    {"service", LOCAL_SERVICE, {EVERYONE, AUTHENTICATED, USERS, SERVICE, LOCAL}, 5, 0},
};

static _Thread_local const Token *caller;
static ULONG console_session = FIRST_SESSION;

const Token *security_token(const char *name) {
    for (unsigned at = 0; at < sizeof tokens / sizeof tokens[0]; at++)
        if (strcmp(tokens[at].name, name) == 0) return &tokens[at];
    return NULL;
}

const Token *security_set_caller(const Token *token) {
    const Token *before = caller;
    caller = token;
    return before;
}

static ULONG length_of(const Sid *sid) { return 8 + 4u * sid->SubAuthorityCount; }

static bool same(const Sid *one, const Sid *other) { return one->SubAuthorityCount == other->SubAuthorityCount && memcmp(one, other, length_of(one)) == 0; }

static bool belongs(const Token *token, const Sid *sid) {
    for (int at = 0; at < token->group_count; at++)
        if (same(&token->groups[at], sid)) return true;
    return same(&token->user, sid);
}

static Sid read_sid(const void *bytes) {
    Sid sid = {0};
    const Sid *source = bytes;
    CHECK(source->Revision == 1 && source->SubAuthorityCount <= 8, "a SID of revision %d with %d sub-authorities", source->Revision, source->SubAuthorityCount);
    memcpy(&sid, bytes, source->SubAuthorityCount <= 8 ? length_of(source) : 8);
    return sid;
}

/* ---- decisions ---- */

/* What the generic rights of a file mean (winnt.h). */
static ULONG specific(ULONG mask) {
    if (mask >> 31 & 1) mask |= 0x120089;
    if (mask >> 30 & 1) mask |= 0x120116;
    if (mask >> 29 & 1) mask |= 0x1200a0;
    if (mask >> 28 & 1) mask |= 0x1f01ff;
    return mask & 0x0fffffff;
}

bool security_allows(const Descriptor *descriptor, const Token *token, ULONG access) {
    ULONG wanted = specific(access);
    if (!descriptor->has_list) return true;
    for (int at = 0; at < descriptor->count && wanted != 0; at++) {
        const Entry *entry = &descriptor->entries[at];
        if (!belongs(token, &entry->sid)) continue;
        if (!entry->allows && (specific(entry->mask) & wanted) != 0) return false;
        if (entry->allows) wanted &= ~specific(entry->mask);
    }
    return wanted == 0;
}

Descriptor security_default(void) {
    return (Descriptor){true, false, {{true, 0x1f01ff, SYSTEM}, {true, 0x1f01ff, ADMINISTRATORS}, {true, 0x1201bf, EVERYONE}}, 3};
}

static Descriptor read_descriptor(const SECURITY_DESCRIPTOR *source, ULONG information) {
    Descriptor descriptor = {0};
    CHECK(source->Revision == 1, "a security descriptor of revision %d", source->Revision);
    descriptor.is_protected = (source->Control & SE_DACL_PROTECTED) || (information & PROTECTED_DACL_SECURITY_INFORMATION);
    const ACL *list;
    if (source->Control & SE_SELF_RELATIVE) {
        ULONG at = ((const SECURITY_DESCRIPTOR_RELATIVE *)(const void *)source)->Dacl;
        list = at != 0 ? (const ACL *)(const void *)((const UCHAR *)source + at) : NULL;
    } else {
        list = source->Dacl;
    }
    if (!CHECK((source->Control & SE_DACL_PRESENT) && list != NULL, "a security descriptor without an access list: everybody may do everything")) return descriptor;
    descriptor.has_list = true;
    CHECK(list->AceCount <= MOST_ENTRIES, "an access list of %d entries", list->AceCount);
    const UCHAR *at = (const UCHAR *)(list + 1), *end = (const UCHAR *)list + list->AclSize;
    for (int entry = 0; entry < list->AceCount && entry < MOST_ENTRIES; entry++) {
        const ACE *ace = (const ACE *)at;
        if (!CHECK(at + 8 <= end && at + ace->AceSize <= end, "an access list's entry goes beyond its end")) break;
        descriptor.entries[descriptor.count++] = (Entry){ace->AceType == ACE_ALLOWED, ace->Mask, read_sid(ace->Sid)};
        at += ace->AceSize;
    }
    return descriptor;
}

/* ---- what the driver calls ---- */

/* Handles of the kernel to objects. */
static PVOID object_handles[MOST_OBJECT_HANDLES];

static NTSTATUS NTAPI ObOpenObjectByPointer(PVOID object, ULONG attributes, PVOID state, ULONG access, PVOID type, CHAR mode, ULONG_PTR *handle) {
    enum { OBJ_KERNEL_HANDLE = 0x200 };
    AT_MOST(PASSIVE_LEVEL);
    (void)state, (void)access, (void)type, (void)mode;
    if (FAILS) return STATUS_INSUFFICIENT_RESOURCES;
    CHECK(attributes & OBJ_KERNEL_HANDLE, "a handle that the process at hand may use");
    for (int at = 0; at < MOST_OBJECT_HANDLES; at++)
        if (object_handles[at] == NULL) {
            object_handles[at] = object;
            *handle = 0xffffffff80000000ull + 4ull * (ULONG_PTR)(at + 1);
            return STATUS_SUCCESS;
        }
    return STATUS_INSUFFICIENT_RESOURCES;
}

static PVOID *object_of(ULONG_PTR handle) {
    ULONG_PTR at = (handle - 0xffffffff80000000ull) / 4 - 1;
    return at < MOST_OBJECT_HANDLES && object_handles[at] != NULL ? &object_handles[at] : NULL;
}

static NTSTATUS NTAPI ZwClose(ULONG_PTR handle) {
    AT_MOST(PASSIVE_LEVEL);
    PVOID *object = object_of(handle);
    if (!CHECK(object != NULL, "ZwClose of no handle (from %s)", loader_where(__builtin_return_address(0)))) return STATUS_INVALID_HANDLE;
    *object = NULL;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI ZwSetSecurityObject(ULONG_PTR handle, ULONG information, const SECURITY_DESCRIPTOR *source) {
    AT_MOST(PASSIVE_LEVEL);
    if (FAILS) return STATUS_INSUFFICIENT_RESOURCES;
    PVOID *object = object_of(handle);
    Descriptor *descriptor = object != NULL ? devices_security(*object) : NULL;
    if (descriptor == NULL) return STATUS_INVALID_HANDLE;
    CHECK(information & DACL_SECURITY_INFORMATION, "ZwSetSecurityObject of something else than the access list");
    *descriptor = read_descriptor(source, information);
    CHECK(descriptor->is_protected, "an access list that is not protected: others may add to it");
    return STATUS_SUCCESS;
}

void security_check_empty(void) {
    for (int at = 0; at < MOST_OBJECT_HANDLES; at++) CHECK(object_handles[at] == NULL, "leak: a handle of the kernel");
}

static NTSTATUS NTAPI IoGetRequestorSessionId(IRP *irp, ULONG *session) {
    (void)irp;
    AT_MOST(PASSIVE_LEVEL);
    *session = caller != NULL ? caller->session : 0;
    return STATUS_SUCCESS;
}

void security_set_console(ULONG session) { console_session = session; }

static ULONG NTAPI RtlGetActiveConsoleId(void) { return console_session; }

const Export security_exports[] = {
    EXPORT(KERNEL, ObOpenObjectByPointer),
    EXPORT(KERNEL, ZwClose),
    EXPORT(KERNEL, ZwSetSecurityObject),
    EXPORT(KERNEL, IoGetRequestorSessionId),
    EXPORT(KERNEL, RtlGetActiveConsoleId),
    END_OF_EXPORTS,
};
