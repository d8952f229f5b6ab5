/* The property interface: what a HAL requires, each row of the committed table, that nothing else is there, and what happens
 * with too little room, too much, guarded buffers, and values that are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../c-host/check.h"
#include "parts.h"
#include "required.h"

enum { ROOM = 4096, GUARD = 0xa5, MOST_ROWS = 512 };

typedef struct {
    AudioObjectID object;
    /* Scope 0 stands for every scope. */
    AudioObjectPropertyAddress address;
    char type[64];
    long size;
    bool settable;
    /* What the table says it answers; from `@` on: something that changes. */
    char answer[256];
} Row;

static DriverRef driver;
static AudioObjectID device, stream;
static Row rows[MOST_ROWS];
static unsigned row_count;

/* An answer with guard bytes behind the room that it was given. */
typedef struct {
    UInt8 data[ROOM + 64];
    UInt32 size;
    OSStatus status;
} Got;

static UInt32 qualifier_of(AudioObjectID object, const AudioObjectPropertyAddress *address, CFTypeRef *qualifier) {
    (void)object;
    bool translates = address->mSelector == CODE('u', 'i', 'd', 'd') || address->mSelector == CODE('u', 'i', 'd', 'b');
    if (!translates) return 0;
    *qualifier = CFStringCreateWithCString(NULL, "no such device", kCFStringEncodingUTF8);
    return sizeof *qualifier;
}

static Got get(AudioObjectID object, const AudioObjectPropertyAddress *address, UInt32 room) {
    Got got;
    CFTypeRef qualifier = NULL;
    UInt32 qualifier_size = qualifier_of(object, address, &qualifier);
    memset(got.data, GUARD, sizeof got.data);
    got.size = 0xdeadbeef;
    got.status = (*driver)->GetPropertyData(driver, object, 0, address, qualifier_size, qualifier_size ? &qualifier : NULL, room,
                                            &got.size, got.data);
    for (UInt32 at = room; at < room + 64; at++)
        if (!CHECK(got.data[at] == GUARD, "%s writes beyond the %u bytes that it was given", address_text(object, address), room)) break;
    if (qualifier != NULL) CFRelease(qualifier);
    return got;
}

static OSStatus size_of(AudioObjectID object, const AudioObjectPropertyAddress *address, UInt32 *size) {
    CFTypeRef qualifier = NULL;
    UInt32 qualifier_size = qualifier_of(object, address, &qualifier);
    OSStatus status = (*driver)->GetPropertyDataSize(driver, object, 0, address, qualifier_size, qualifier_size ? &qualifier : NULL, size);
    if (qualifier != NULL) CFRelease(qualifier);
    return status;
}

/* Answers that are CoreFoundation objects belong to who asked. */
static void let_go(const Got *got) {
    CFTypeRef object;
    memcpy(&object, got->data, sizeof object);
    if (object != NULL) CFRelease(object);
}

static bool is_object(const char *type) { return strcmp(type, "CFString") == 0 || strcmp(type, "CFPropertyList") == 0; }

static void check_required(void) {
    for (unsigned at = 0; at < required_count; at++) {
        const Required *wanted = &required[at];
        AudioObjectID object = wanted->class == PLUG_IN ? kPlugInObject : wanted->class == DEVICE ? device : stream;
        AudioObjectPropertyAddress address = {wanted->selector, wanted->scope, 0};
        const char *name = address_text(object, &address);
        if (!CHECK((*driver)->HasProperty(driver, object, 0, &address), "%s is required", name)) continue;
        Got got = get(object, &address, ROOM);
        if (!CHECK(got.status == noErr, "%s: %s", name, code_text((UInt32)got.status))) continue;
        UInt32 number;
        Float64 rate;
        memcpy(&number, got.data, sizeof number);
        memcpy(&rate, got.data, sizeof rate);
        switch (wanted->answer) {
        case NUMBER:
            CHECK(got.size == 4, "%s has %u bytes", name, got.size);
            CHECK(wanted->value == -1 || number == (UInt32)wanted->value, "%s is %s and not %s", name, code_text(number),
                  code_text((UInt32)wanted->value));
            break;
        case RATE: CHECK(got.size == 8 && rate == (Float64)wanted->value, "%s is %f", name, rate); break;
        case LIST:
            CHECK(got.size % wanted->size == 0, "%s has %u bytes, members of %u are wanted", name, got.size, wanted->size);
            CHECK(wanted->value == -1 || got.size / wanted->size == wanted->value, "%s has %u members and not %lld", name,
                  got.size / wanted->size, (long long)wanted->value);
            break;
        case BYTES: CHECK(wanted->size == 0 || got.size == wanted->size, "%s has %u bytes", name, got.size); break;
        case TEXT: {
            CFTypeRef string;
            memcpy(&string, got.data, sizeof string);
            char text[256] = "";
            CHECK(got.size == sizeof string, "%s has %u bytes", name, got.size);
            CHECK(CFStringGetCString(string, text, sizeof text, kCFStringEncodingUTF8), "%s is no short text", name);
            if (wanted->text != NULL) CHECK(strcmp(text, wanted->text) == 0, "%s is \"%s\"", name, text);
            else CHECK(text[0] != 0, "%s is empty", name);
            let_go(&got);
        }
        }
    }
}

static void check_format(void) {
    const UInt32 selectors[] = {CODE('s', 'f', 'm', 't'), CODE('p', 'f', 't', ' ')};
    for (int at = 0; at < 2; at++) {
        AudioObjectPropertyAddress address = {selectors[at], kScopeGlobal, 0};
        Got got = get(stream, &address, ROOM);
        AudioStreamBasicDescription format;
        memcpy(&format, got.data, sizeof format);
        /* Float and packed, in the machine's byte order: kAudioFormatFlagIsFloat 1, kAudioFormatFlagIsPacked 8. */
        CHECK(format.mSampleRate == 48000 && format.mFormatID == CODE('l', 'p', 'c', 'm') && format.mFormatFlags == 9 &&
                  format.mBytesPerPacket == 8 && format.mFramesPerPacket == 1 && format.mBytesPerFrame == 8 &&
                  format.mChannelsPerFrame == 2 && format.mBitsPerChannel == 32,
              "%s is not 48 kHz stereo in floats", address_text(stream, &address));
        OSStatus same = (*driver)->SetPropertyData(driver, stream, 0, &address, 0, NULL, sizeof format, &format);
        CHECK(same == noErr, "setting the format that there is: %s", code_text((UInt32)same));
        for (int field = 0; field < 5; field++) {
            AudioStreamBasicDescription other = format;
            if (field == 0) other.mSampleRate = 44100;
            if (field == 1) other.mChannelsPerFrame = 1, other.mBytesPerFrame = other.mBytesPerPacket = 4;
            if (field == 2) other.mFormatFlags = 4 | 8, other.mBitsPerChannel = 32;
            if (field == 3) other.mFormatID = CODE('a', 'a', 'c', ' ');
            if (field == 4) memset(&other, 0xff, sizeof other);
            OSStatus status = (*driver)->SetPropertyData(driver, stream, 0, &address, 0, NULL, sizeof other, &other);
            CHECK(status == kAudioDeviceUnsupportedFormatError, "another format (%d) is answered with %s", field, code_text((UInt32)status));
        }
        OSStatus small = (*driver)->SetPropertyData(driver, stream, 0, &address, 0, NULL, sizeof format - 1, &format);
        CHECK(small == kAudioHardwareBadPropertySizeError, "a format that is too short: %s", code_text((UInt32)small));
        Got after = get(stream, &address, ROOM);
        CHECK(memcmp(after.data, got.data, sizeof format) == 0, "a refused format has changed the format");
    }
    AudioObjectPropertyAddress address = {CODE('n', 's', 'r', 't'), kScopeGlobal, 0};
    const Float64 rates[] = {44100, 0, -48000, 1e308, __builtin_nan("")};
    for (unsigned at = 0; at < sizeof rates / sizeof rates[0]; at++) {
        OSStatus status = (*driver)->SetPropertyData(driver, device, 0, &address, 0, NULL, sizeof rates[0], &rates[at]);
        CHECK(status != noErr, "the rate can be set to %f", rates[at]);
    }
}

static UInt32 code_from(const char *text) {
    UInt8 letters[4] = {' ', ' ', ' ', ' '};
    for (int at = 0; at < 4 && text[at] != 0; at++) letters[at] = (UInt8)text[at];
    return CODE(letters[0], letters[1], letters[2], letters[3]);
}

static UInt32 scope_from(const char *text) {
    const char *const names[] = {"any", "global", "input", "output"};
    const UInt32 scopes[] = {0, kScopeGlobal, kScopeInput, kScopeOutput};
    for (int at = 0; at < 4; at++)
        if (strcmp(text, names[at]) == 0) return scopes[at];
    CHECK(false, "the table has a scope \"%s\"", text);
    return 0xffffffff;
}

/* Columns: object, scope, element, 'selector', name, type, size, settable, answer; then the source, which no program can check. */
static void read_table(const char *path) {
    FILE *file = fopen(path, "r");
    if (!CHECK(file != NULL, "cannot open the table %s", path)) return;
    char line[2048];
    while (fgets(line, sizeof line, file) != NULL) {
        char *columns[9] = {0}, *rest = line;
        for (int at = 0; at < 9; at++) columns[at] = strsep(&rest, "\t\n");
        if (strcmp(columns[0], "object") == 0) continue;
        if (!CHECK(columns[8] != NULL && row_count < MOST_ROWS, "a short row or too many: %s", line)) break;
        Row *row = &rows[row_count++];
        row->object = strcmp(columns[0], "plugin") == 0 ? kPlugInObject : strcmp(columns[0], "device") == 0 ? device : stream;
        row->address.mScope = scope_from(columns[1]);
        row->address.mElement = (UInt32)strtoul(columns[2], NULL, 10);
        row->address.mSelector = code_from(columns[3] + 1);
        snprintf(row->type, sizeof row->type, "%s", columns[5]);
        row->size = strtol(columns[6], NULL, 10);
        row->settable = strcmp(columns[7], "yes") == 0;
        snprintf(row->answer, sizeof row->answer, "%s", columns[8]);
    }
    fclose(file);
    CHECK(row_count > 40, "the table has only %u rows", row_count);
}

/* One word of the table's answer, as the number that stands in the data. */
static double number_from(const char *word) { return word[0] == '\'' ? code_from(word + 1) : strtod(word, NULL); }

/* Whether this member of the type is a Float64; the others take four bytes. A stream's description begins with its rate, a ranged one ends
 * with two more; the coordinates of a channel's description are Float32, of which 0 looks as a whole number's. */
static bool is_wide(const char *type, UInt32 field) {
    if (strstr(type, "StreamRangedDescription") != NULL) return field == 0 || field > 8;
    if (strstr(type, "StreamBasicDescription") != NULL) return field == 0;
    return strstr(type, "Float64") != NULL || strstr(type, "AudioValueRange") != NULL;
}

/* The answer's words beside the data's members: a text, or numbers of the type's size. */
static void check_answer(const Row *row, const char *name, const Got *got) {
    if (row->answer[0] == '@') return;
    if (strcmp(row->type, "CFString") == 0) {
        CFTypeRef string;
        char text[256] = "";
        memcpy(&string, got->data, sizeof string);
        CFStringGetCString(string, text, sizeof text, kCFStringEncodingUTF8);
        CHECK(strcmp(text, row->answer) == 0, "%s is \"%s\", in the table \"%s\"", name, text, row->answer);
        return;
    }
    UInt32 at = 0, field = 0;
    /* Codes may hold a blank ('pft '), so that words are not simply what stands between blanks. */
    for (const char *word = row->answer; *word != 0; field++) {
        bool wide = is_wide(row->type, field);
        if (!CHECK(at + (wide ? 8 : 4) <= got->size, "%s has %u bytes, and the table more", name, got->size)) return;
        Float64 real = 0;
        UInt32 whole = 0;
        if (wide) memcpy(&real, got->data + at, sizeof real);
        else memcpy(&whole, got->data + at, sizeof whole);
        double found = wide ? real : whole, wanted = number_from(word);
        CHECK(found == wanted, "%s has %f at byte %u, in the table %f", name, found, at, wanted);
        at += wide ? 8 : 4;
        word += word[0] == '\'' ? 6 : (int)strcspn(word, " ");
        word += strspn(word, " ");
    }
    CHECK(at == got->size, "%s has %u bytes, in the table are %u", name, got->size, at);
}

static void check_at(const Row *table_row, UInt32 scope) {
    Row copy = *table_row, *row = &copy;
    row->address.mScope = scope;
    const char *name = address_text(row->object, &row->address);
    UInt32 size = 0;
    Boolean settable = 7;
    if (!CHECK((*driver)->HasProperty(driver, row->object, 0, &row->address), "%s of the table is not there", name)) return;
    CHECK((*driver)->IsPropertySettable(driver, row->object, 0, &row->address, &settable) == noErr && settable == row->settable,
          "%s is settable: %d, in the table %d", name, settable, row->settable);
    CHECK(size_of(row->object, &row->address, &size) == noErr && size == (UInt32)row->size, "%s has %u bytes, in the table %ld", name,
          size, row->size);
    bool object = is_object(row->type), list = strstr(row->type, "[]") != NULL;
    long before = foundation_live();
    const UInt32 rooms[] = {size, size + 1, size * 2 + 16, ROOM};
    for (int at = 0; at < 4; at++) {
        Got got = get(row->object, &row->address, rooms[at]);
        CHECK(got.status == noErr && got.size == size, "%s with room for %u: %s, %u bytes", name, rooms[at],
              code_text((UInt32)got.status), got.size);
        if (got.status == noErr) check_answer(row, name, &got);
        if (object && got.status == noErr) let_go(&got);
    }
    CHECK(foundation_live() == before, "%s leaves %ld objects behind", name, foundation_live() - before);
    for (UInt32 room = 0; room < size; room++) {
        Got got = get(row->object, &row->address, room);
        if (list) CHECK(got.status == noErr && got.size <= room, "%s with room for %u: %s, %u bytes", name, room,
                        code_text((UInt32)got.status), got.size);
        else CHECK(got.status == kAudioHardwareBadPropertySizeError, "%s with room for %u: %s", name, room, code_text((UInt32)got.status));
        for (UInt32 byte = list && got.status == noErr ? got.size : 0; byte < room; byte++)
            if (!CHECK(got.data[byte] == GUARD, "%s writes more than it says, with room for %u", name, room)) break;
    }
    if (row->settable) return;
    UInt8 junk[64];
    memset(junk, 0xff, sizeof junk);
    OSStatus status = (*driver)->SetPropertyData(driver, row->object, 0, &row->address, 0, NULL, size < 64 ? size : 64, junk);
    CHECK(status != noErr, "%s can be set, though it is not settable", name);
}

static void check_row(const Row *row) {
    if (row->address.mScope != 0) {
        check_at(row, row->address.mScope);
        return;
    }
    const UInt32 scopes[] = {kScopeGlobal, kScopeInput, kScopeOutput, kScopePlayThrough};
    for (int at = 0; at < 4; at++) check_at(row, scopes[at]);
}

static bool in_table(AudioObjectID object, const AudioObjectPropertyAddress *address) {
    for (unsigned at = 0; at < row_count; at++)
        if (rows[at].object == object && rows[at].address.mSelector == address->mSelector &&
            rows[at].address.mElement == address->mElement &&
            (rows[at].address.mScope == 0 || rows[at].address.mScope == address->mScope))
            return true;
    return false;
}

/* Every selector that the table or the requirements name, the HAL's others, and made-up ones, at every object, scope and element. */
static void check_nothing_else(void) {
    static const char *const others[] = {
        "lmod", "lchn", "lccn", "lcnn", "iden", "snum", "fwvn", "uidb", "uidd", "clk#", "bidc", "icon", "dch#", "clok", "cstb", "oink", "volm", "vold",
        "mute", "solo", "jack", "dvol", "span", "fsz#", "fsiz", "vfsz", "nsrt", "slay", "ssrc", "over", "hogm", "gone", "csrc", "tfmt", "plug", "pmut",
        "bhid", "prot", "tran", "bxha", "bxon", "cscp", "celm", "lcsv", "bcvl", "scfm", "grup", "vivd", "capo", "dsrc", "vads", "vAdS", "'''", "    "};
    UInt32 selectors[256];
    unsigned count = 0;
    for (unsigned at = 0; at < required_count; at++) selectors[count++] = required[at].selector;
    for (unsigned at = 0; at < row_count && count < 200; at++) selectors[count++] = rows[at].address.mSelector;
    for (unsigned at = 0; at < sizeof others / sizeof others[0] && count < 254; at++) selectors[count++] = code_from(others[at]);
    selectors[count++] = 0, selectors[count++] = 0xffffffff;
    const UInt32 scopes[] = {kScopeGlobal, kScopeInput, kScopeOutput, kScopePlayThrough, kScopeWildcard, 0, 0xffffffff};
    const UInt32 elements[] = {0, 1, 2, 3, 0xffffffff};
    const AudioObjectID objects[] = {kPlugInObject, device, stream};
    for (int object = 0; object < 3; object++)
        for (unsigned selector = 0; selector < count; selector++)
            for (int scope = 0; scope < 7; scope++)
                for (int element = 0; element < 5; element++) {
                    AudioObjectPropertyAddress address = {selectors[selector], scopes[scope], elements[element]};
                    if (in_table(objects[object], &address)) continue;
                    const char *name = address_text(objects[object], &address);
                    UInt32 size = 0;
                    CHECK(!(*driver)->HasProperty(driver, objects[object], 0, &address), "%s is there and not in the table", name);
                    CHECK(size_of(objects[object], &address, &size) == kAudioHardwareUnknownPropertyError,
                          "%s is not there but has a size", name);
                    Got got = get(objects[object], &address, 64);
                    CHECK(got.status == kAudioHardwareUnknownPropertyError && got.data[0] == GUARD, "%s is not there but is answered", name);
                    Boolean settable = 0;
                    CHECK((*driver)->IsPropertySettable(driver, objects[object], 0, &address, &settable) == kAudioHardwareUnknownPropertyError,
                          "%s is not there but may be settable", name);
                }
}

/* The device's UID leads to the device, another to none; without a qualifier it is an error. */
static void check_translation(void) {
    AudioObjectPropertyAddress uid = {CODE('u', 'i', 'd', ' '), kScopeGlobal, 0}, translate = {CODE('u', 'i', 'd', 'd'), kScopeGlobal, 0};
    Got got = get(device, &uid, ROOM);
    CFTypeRef text;
    memcpy(&text, got.data, sizeof text);
    AudioObjectID found = 77;
    UInt32 size = 0;
    OSStatus status = (*driver)->GetPropertyData(driver, kPlugInObject, 0, &translate, sizeof text, &text, 4, &size, &found);
    CHECK(status == noErr && size == 4 && found == device, "the device's UID leads to %u, %s", found, code_text((UInt32)status));
    CFRelease(text);
    Got other = get(kPlugInObject, &translate, 4);
    memcpy(&found, other.data, sizeof found);
    CHECK(other.status == noErr && found == 0, "an unknown UID leads to %u, %s", found, code_text((UInt32)other.status));
    status = (*driver)->GetPropertyData(driver, kPlugInObject, 0, &translate, 0, NULL, 4, &size, &found);
    CHECK(status == kAudioHardwareBadPropertySizeError || status == kAudioHardwareIllegalOperationError,
          "a UID is translated without one: %s", code_text((UInt32)status));
    status = (*driver)->GetPropertyData(driver, kPlugInObject, 0, &translate, 3, &text, 4, &size, &found);
    CHECK(status != noErr, "a UID is translated from three bytes");
}

void check_properties(Factory factory, const char *table) {
    driver = plugin_open(factory);
    device = plugin_device(driver), stream = plugin_stream(driver, device);
    check_required();
    check_format();
    check_translation();
    read_table(table);
    for (unsigned at = 0; at < row_count; at++) check_row(&rows[at]);
    check_nothing_else();
    CHECK(plugin_configuration_requests() == 0, "the plug-in asks for a change of a device that never changes");
}
