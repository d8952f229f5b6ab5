/* CoreFoundation's objects: strings, numbers, booleans, arrays, dictionaries, data and UUIDs, each with a count of owners. */
#include "foundation.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { STRING = 7, NUMBER = 22, BOOLEAN = 21, ARRAY = 19, DICTIONARY = 18, DATA = 20, UUID = 31 } Kind;

enum { LIVE = 0x4c495645, DEAD = 0x44454144 };

/* Numbers of CFNumberType as CFNumber.h lists them. */
enum { SINT8 = 1, SINT16, SINT32, SINT64, FLOAT32, FLOAT64, CHAR, SHORT, INT, LONG, LONGLONG, FLOAT, DOUBLE, CFINDEX };

typedef struct {
    UInt32 mark;
    Kind kind;
    Boolean immortal;
    atomic_long owners;
    /* Bytes of a string (with a zero behind), of data, of a UUID. */
    char *bytes;
    size_t length;
    /* Members of an array; of a dictionary keys and values in turn. */
    CFTypeRef *members;
    size_t count;
    Boolean is_float;
    SInt64 whole;
    double real;
} Object;

static atomic_long live;

static Object yes = {LIVE, BOOLEAN, 1, 1, NULL, 0, NULL, 0, 0, 1, 0};
static Object no = {LIVE, BOOLEAN, 1, 1, NULL, 0, NULL, 0, 0, 0, 0};

const CFAllocatorRef kCFAllocatorDefault = NULL;
const CFTypeRef kCFBooleanTrue = &yes;
const CFTypeRef kCFBooleanFalse = &no;
/* Their members are never called: whatever is put into a collection of this program is retained. */
const void *const kCFTypeArrayCallBacks[5] = {0};
const void *const kCFTypeDictionaryKeyCallBacks[6] = {0};
const void *const kCFTypeDictionaryValueCallBacks[5] = {0};

static _Noreturn void stop(const char *what, CFTypeRef object) {
    printf("FAILED CoreFoundation: %s (%p)\n", what, object);
    fflush(stdout);
    abort();
}

static Object *look(CFTypeRef reference) {
    Object *object = (Object *)reference;
    if (object == NULL) stop("NULL where an object is wanted", reference);
    if (object->mark == DEAD) stop("an object is used after its last owner let go of it", reference);
    if (object->mark != LIVE) stop("this is no object", reference);
    return object;
}

static Object *look_for(CFTypeRef reference, Kind kind) {
    Object *object = look(reference);
    if (object->kind != kind) stop("an object of another kind is wanted", reference);
    return object;
}

static Object *make(Kind kind) {
    Object *object = calloc(1, sizeof *object);
    object->mark = LIVE;
    object->kind = kind;
    object->owners = 1;
    live++;
    return object;
}

long foundation_live(void) { return live; }

CFTypeRef CFRetain(CFTypeRef reference) {
    Object *object = look(reference);
    if (!object->immortal) object->owners++;
    return reference;
}

void CFRelease(CFTypeRef reference) {
    Object *object = look(reference);
    if (object->immortal || --object->owners > 0) return;
    object->mark = DEAD;
    for (size_t at = 0; at < object->count; at++) CFRelease(object->members[at]);
    free(object->members);
    free(object->bytes);
    live--;
}

CFIndex CFGetRetainCount(CFTypeRef object) { return look(object)->owners; }
CFTypeID CFGetTypeID(CFTypeRef object) { return look(object)->kind; }
CFTypeID CFStringGetTypeID(void) { return STRING; }
CFTypeID CFNumberGetTypeID(void) { return NUMBER; }
CFTypeID CFBooleanGetTypeID(void) { return BOOLEAN; }
CFTypeID CFArrayGetTypeID(void) { return ARRAY; }
CFTypeID CFDictionaryGetTypeID(void) { return DICTIONARY; }
CFTypeID CFDataGetTypeID(void) { return DATA; }
CFTypeID CFUUIDGetTypeID(void) { return UUID; }

Boolean CFEqual(CFTypeRef one_reference, CFTypeRef other_reference) {
    Object *one = look(one_reference), *other = look(other_reference);
    if (one == other) return 1;
    if (one->kind != other->kind || one->length != other->length || one->count != other->count) return 0;
    if (one->whole != other->whole || one->real != other->real) return 0;
    if (one->length != 0 && memcmp(one->bytes, other->bytes, one->length) != 0) return 0;
    for (size_t at = 0; at < one->count; at++)
        if (!CFEqual(one->members[at], other->members[at])) return 0;
    return 1;
}

static Object *with_bytes(Kind kind, const void *bytes, size_t length) {
    Object *object = make(kind);
    object->bytes = malloc(length + 1);
    if (length != 0) memcpy(object->bytes, bytes, length);
    object->bytes[length] = 0;
    object->length = length;
    return object;
}

CFTypeRef CFStringCreateWithBytes(CFAllocatorRef allocator, const UInt8 *bytes, CFIndex length, UInt32 encoding, Boolean external) {
    (void)allocator, (void)external;
    return encoding == kCFStringEncodingUTF8 && length >= 0 ? with_bytes(STRING, bytes, (size_t)length) : NULL;
}

CFTypeRef CFStringCreateWithCString(CFAllocatorRef allocator, const char *text, UInt32 encoding) {
    return CFStringCreateWithBytes(allocator, (const UInt8 *)text, (CFIndex)strlen(text), encoding, 0);
}

Boolean CFStringGetCString(CFTypeRef string, char *room, CFIndex size, UInt32 encoding) {
    Object *object = look_for(string, STRING);
    if (encoding != kCFStringEncodingUTF8 || size <= 0 || (size_t)size <= object->length) return 0;
    memcpy(room, object->bytes, object->length + 1);
    return 1;
}

/* In units of UTF-16: one for a sequence of up to three bytes of UTF-8, two for one of four. */
CFIndex CFStringGetLength(CFTypeRef string) {
    Object *object = look_for(string, STRING);
    CFIndex units = 0;
    for (size_t at = 0; at < object->length; at++) {
        UInt8 byte = (UInt8)object->bytes[at];
        if ((byte & 0xc0) != 0x80) units += byte >= 0xf0 ? 2 : 1;
    }
    return units;
}

CFIndex CFStringGetMaximumSizeForEncoding(CFIndex length, UInt32 encoding) {
    return encoding == kCFStringEncodingUTF8 ? length * 3 : -1;
}

CFTypeRef CFDataCreate(CFAllocatorRef allocator, const UInt8 *bytes, CFIndex length) {
    (void)allocator;
    return with_bytes(DATA, bytes, (size_t)length);
}
const UInt8 *CFDataGetBytePtr(CFTypeRef data) { return (const UInt8 *)look_for(data, DATA)->bytes; }
CFIndex CFDataGetLength(CFTypeRef data) { return (CFIndex)look_for(data, DATA)->length; }

CFTypeRef CFUUIDCreateFromUUIDBytes(CFAllocatorRef allocator, CFUUIDBytes bytes) {
    (void)allocator;
    return with_bytes(UUID, bytes.bytes, sizeof bytes.bytes);
}

CFUUIDBytes CFUUIDGetUUIDBytes(CFTypeRef uuid) {
    CFUUIDBytes bytes;
    memcpy(bytes.bytes, look_for(uuid, UUID)->bytes, sizeof bytes.bytes);
    return bytes;
}

CFTypeRef CFNumberCreate(CFAllocatorRef allocator, CFIndex type, const void *value) {
    (void)allocator;
    Object *object = make(NUMBER);
    switch (type) {
    case SINT8: case CHAR: object->whole = *(const int8_t *)value; break;
    case SINT16: case SHORT: object->whole = *(const SInt16 *)value; break;
    case SINT32: case INT: object->whole = *(const SInt32 *)value; break;
    case SINT64: case LONG: case LONGLONG: case CFINDEX: object->whole = *(const SInt64 *)value; break;
    case FLOAT32: case FLOAT: object->is_float = 1, object->real = *(const float *)value; break;
    case FLOAT64: case DOUBLE: object->is_float = 1, object->real = *(const double *)value; break;
    default: stop("a number of an unknown type is made", value);
    }
    return object;
}

Boolean CFNumberGetValue(CFTypeRef number, CFIndex type, void *value) {
    Object *object = look_for(number, NUMBER);
    switch (type) {
    case SINT32: case INT: *(SInt32 *)value = (SInt32)object->whole; return !object->is_float;
    case SINT64: case LONG: case LONGLONG: case CFINDEX: *(SInt64 *)value = object->whole; return !object->is_float;
    case FLOAT64: case DOUBLE: *(double *)value = object->is_float ? object->real : (double)object->whole; return 1;
    default: return 0;
    }
}

Boolean CFBooleanGetValue(CFTypeRef boolean) { return look_for(boolean, BOOLEAN)->whole != 0; }

static void append(Object *object, CFTypeRef member) {
    object->members = realloc(object->members, (object->count + 1) * sizeof *object->members);
    object->members[object->count++] = CFRetain(member);
}

CFTypeRef CFArrayCreate(CFAllocatorRef allocator, const void **values, CFIndex count, const void *callbacks) {
    (void)allocator;
    if (callbacks != &kCFTypeArrayCallBacks) stop("an array that would not retain its members", callbacks);
    Object *object = make(ARRAY);
    for (CFIndex at = 0; at < count; at++) append(object, values[at]);
    return object;
}
CFTypeRef CFArrayCreateMutable(CFAllocatorRef allocator, CFIndex capacity, const void *callbacks) {
    (void)capacity;
    return CFArrayCreate(allocator, NULL, 0, callbacks);
}
void CFArrayAppendValue(CFTypeRef array, CFTypeRef value) { append(look_for(array, ARRAY), value); }
CFIndex CFArrayGetCount(CFTypeRef array) { return (CFIndex)look_for(array, ARRAY)->count; }
CFTypeRef CFArrayGetValueAtIndex(CFTypeRef array, CFIndex at) {
    Object *object = look_for(array, ARRAY);
    if (at < 0 || (size_t)at >= object->count) stop("a member beyond the end of an array", array);
    return object->members[at];
}

CFTypeRef CFDictionaryCreate(CFAllocatorRef allocator, const void **keys, const void **values, CFIndex count,
                             const void *key_callbacks, const void *value_callbacks) {
    (void)allocator;
    if (key_callbacks != &kCFTypeDictionaryKeyCallBacks || value_callbacks != &kCFTypeDictionaryValueCallBacks)
        stop("a dictionary that would not retain its members", key_callbacks);
    Object *object = make(DICTIONARY);
    for (CFIndex at = 0; at < count; at++) append(object, keys[at]), append(object, values[at]);
    return object;
}
CFTypeRef CFDictionaryCreateMutable(CFAllocatorRef allocator, CFIndex capacity, const void *key_callbacks, const void *value_callbacks) {
    (void)capacity;
    return CFDictionaryCreate(allocator, NULL, NULL, 0, key_callbacks, value_callbacks);
}
CFTypeRef CFDictionaryGetValue(CFTypeRef dictionary, CFTypeRef key) {
    Object *object = look_for(dictionary, DICTIONARY);
    for (size_t at = 0; at < object->count; at += 2)
        if (CFEqual(object->members[at], key)) return object->members[at + 1];
    return NULL;
}
void CFDictionarySetValue(CFTypeRef dictionary, CFTypeRef key, CFTypeRef value) {
    Object *object = look_for(dictionary, DICTIONARY);
    for (size_t at = 0; at < object->count; at += 2) {
        if (!CFEqual(object->members[at], key)) continue;
        CFRelease(object->members[at + 1]);
        object->members[at + 1] = CFRetain(value);
        return;
    }
    append(object, key), append(object, value);
}
CFIndex CFDictionaryGetCount(CFTypeRef dictionary) { return (CFIndex)look_for(dictionary, DICTIONARY)->count / 2; }

/* Quotes and backslashes as references too, so that the whole can stand in a string of JSON. */
static void write_text(FILE *out, const Object *object) {
    for (size_t at = 0; at < object->length; at++) {
        UInt8 byte = (UInt8)object->bytes[at];
        if (strchr("<>&\"'\\", byte) != NULL || byte < 0x20) fprintf(out, "&#%u;", byte);
        else fputc(byte, out);
    }
}

/* The elements of Apple's PropertyList-1.0.dtd. */
static void write_xml(FILE *out, CFTypeRef reference) {
    Object *object = look(reference);
    switch (object->kind) {
    case STRING:
        fputs("<string>", out), write_text(out, object), fputs("</string>", out);
        break;
    case NUMBER:
        if (object->is_float) fprintf(out, "<real>%.17g</real>", object->real);
        else fprintf(out, "<integer>%lld</integer>", (long long)object->whole);
        break;
    case BOOLEAN: fputs(object->whole ? "<true/>" : "<false/>", out); break;
    case ARRAY:
        fputs("<array>", out);
        for (size_t at = 0; at < object->count; at++) write_xml(out, object->members[at]);
        fputs("</array>", out);
        break;
    case DICTIONARY:
        fputs("<dict>", out);
        for (size_t at = 0; at < object->count; at += 2) {
            fputs("<key>", out), write_text(out, look_for(object->members[at], STRING)), fputs("</key>", out);
            write_xml(out, object->members[at + 1]);
        }
        fputs("</dict>", out);
        break;
    default: stop("this is in no property list", reference);
    }
}

char *foundation_property_list(CFTypeRef object) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    fputs("<?xml version='1.0' encoding='UTF-8'?><plist version='1.0'>", out);
    write_xml(out, object);
    fputs("</plist>", out);
    fclose(out);
    return text;
}
