/* The loader. Layouts are those of the PE format's specification (Microsoft, "PE Format"). */
#include "loader.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../c-host/check.h"
#include "doubles.h"

enum {
    PAGE = 4096,
    MACHINE_AMD64 = 0x8664,
    PE32_PLUS = 0x20b,
    SUBSYSTEM_NATIVE = 1,
    RELOCATIONS_STRIPPED = 1,
    DIRECTORY_IMPORT = 1,
    DIRECTORY_RELOCATION = 5,
    RELOCATION_NONE = 0,
    RELOCATION_64 = 10,
};

#define SECTION_DISCARDABLE 0x02000000u
#define SECTION_EXECUTE 0x20000000u
#define SECTION_WRITE 0x80000000u

typedef struct {
    ULONG Signature;
    USHORT Machine, NumberOfSections;
    ULONG TimeDateStamp, PointerToSymbolTable, NumberOfSymbols;
    USHORT SizeOfOptionalHeader, Characteristics;
    USHORT Magic;
    UCHAR LinkerVersion[2];
    ULONG SizeOfCode, SizeOfInitializedData, SizeOfUninitializedData, AddressOfEntryPoint, BaseOfCode;
    ULONG64 ImageBase __attribute__((packed, aligned(4)));
    ULONG SectionAlignment, FileAlignment;
    USHORT Versions[6];
    ULONG Win32Version, SizeOfImage, SizeOfHeaders, CheckSum;
    USHORT Subsystem, DllCharacteristics;
    ULONG Sizes[8];
    ULONG LoaderFlags, NumberOfRvaAndSizes;
    struct {
        ULONG VirtualAddress, Size;
    } Directories[16];
} Headers;

typedef struct {
    char Name[8];
    ULONG VirtualSize, VirtualAddress, SizeOfRawData, PointerToRawData;
    ULONG Unused[3];
    ULONG Characteristics;
} Section;

typedef struct {
    ULONG LookupTable, TimeDateStamp, ForwarderChain, Name, AddressTable;
} ImportDescriptor;

_Static_assert(sizeof(Headers) == 264 && sizeof(Section) == 40, "the PE format's layouts");

static Image loaded;

static const Headers *headers_of(const Image *image) {
    ULONG at;
    memcpy(&at, image->base + 0x3c, sizeof at);
    return (const Headers *)(image->base + at);
}

static const Section *sections_of(const Headers *headers) {
    return (const Section *)((const UCHAR *)&headers->Magic + headers->SizeOfOptionalHeader);
}

/* A piece of the image that lies inside of it. */
static PVOID piece(const Image *image, ULONG64 at, ULONG64 bytes, const char *what) {
    if (at > image->size || bytes > image->size - at) FATAL("%s: %s lies outside of the image", image->file, what);
    return image->base + at;
}

static UCHAR *read_file(const char *file, size_t *size) {
    int descriptor = open(file, O_RDONLY);
    struct stat about;
    if (descriptor < 0 || fstat(descriptor, &about) != 0) FATAL("%s cannot be read", file);
    *size = (size_t)about.st_size;
    UCHAR *bytes = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED) FATAL("%s cannot be read", file);
    close(descriptor);
    return bytes;
}

static void check_headers(const char *file, const Headers *headers, size_t left) {
    if (left < sizeof *headers || headers->Signature != 0x4550 || headers->Machine != MACHINE_AMD64 || headers->Magic != PE32_PLUS)
        FATAL("%s is no PE image for x64", file);
    if (headers->Subsystem != SUBSYSTEM_NATIVE) FATAL("%s has subsystem %d, a driver has %d (native)", file, headers->Subsystem, SUBSYSTEM_NATIVE);
    if (headers->SectionAlignment != PAGE) FATAL("%s: sections are aligned to %u, this host maps pages of %d", file, headers->SectionAlignment, PAGE);
    if (headers->NumberOfRvaAndSizes <= DIRECTORY_RELOCATION || headers->Characteristics & RELOCATIONS_STRIPPED)
        FATAL("%s cannot be moved: it has no relocations", file);
}

static void map_sections(Image *image, const UCHAR *bytes, size_t size, const Headers *headers) {
    image->size = headers->SizeOfImage;
    image->base = mmap(NULL, image->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (image->base == MAP_FAILED || headers->SizeOfHeaders > size) FATAL("%s cannot be mapped", image->file);
    memcpy(image->base, bytes, headers->SizeOfHeaders);
    const Section *section = sections_of(headers);
    for (int at = 0; at < headers->NumberOfSections; at++, section++) {
        ULONG raw = section->SizeOfRawData < section->VirtualSize ? section->SizeOfRawData : section->VirtualSize;
        if (section->PointerToRawData > size || raw > size - section->PointerToRawData) FATAL("%s: section %.8s is cut off", image->file, section->Name);
        memcpy(piece(image, section->VirtualAddress, section->VirtualSize, "a section"), bytes + section->PointerToRawData, raw);
        CHECK(strncmp(section->Name, "PAGE", 4) != 0, "%s has a paged section, %.8s: it must hold nothing that runs at DISPATCH_LEVEL", image->file, section->Name);
    }
}

static void relocate(const Image *image, const Headers *headers) {
    ULONG64 by = (ULONG64)(uintptr_t)image->base - headers->ImageBase;
    ULONG at = headers->Directories[DIRECTORY_RELOCATION].VirtualAddress, end = at + headers->Directories[DIRECTORY_RELOCATION].Size;
    while (at < end) {
        const ULONG *block = piece(image, at, 8, "a relocation");
        if (block[1] < 8) FATAL("%s: a block of relocations is too short", image->file);
        const USHORT *entry = piece(image, at + 8, block[1] - 8, "a relocation");
        for (ULONG left = (block[1] - 8) / 2; left > 0; left--, entry++) {
            if (*entry >> 12 == RELOCATION_NONE) continue;
            if (*entry >> 12 != RELOCATION_64) FATAL("%s: relocation of type %d", image->file, *entry >> 12);
            ULONG64 value;
            PVOID where = piece(image, block[0] + (*entry & 0xfff), 8, "what is relocated");
            memcpy(&value, where, 8);
            value += by;
            memcpy(where, &value, 8);
        }
        at += block[1];
    }
}

/* "a|b" names a and b. */
static bool names(const char *modules, const char *module) {
    size_t length = strlen(module);
    for (const char *at = modules; at != NULL; at = strchr(at, '|')) {
        if (*at == '|') at++;
        if (strncasecmp(at, module, length) == 0 && (at[length] == '|' || at[length] == 0)) return true;
    }
    return false;
}

PVOID loader_find(const char *module, const char *name) {
    static const Export *const tables[] = {irql_exports, pool_exports, time_exports, device_exports, security_exports, text_exports, portcls_exports};
    for (unsigned table = 0; table < sizeof tables / sizeof tables[0]; table++)
        for (const Export *export = tables[table]; export->name != NULL; export ++)
            if (strcmp(export->name, name) == 0 && (module == NULL || names(export->modules, module))) return export->address;
    return NULL;
}

static void bind_imports(const Image *image, const Headers *headers) {
    int missing = 0;
    if (headers->Directories[DIRECTORY_IMPORT].Size == 0) return;
    ULONG at = headers->Directories[DIRECTORY_IMPORT].VirtualAddress;
    for (;; at += sizeof(ImportDescriptor)) {
        const ImportDescriptor *import = piece(image, at, sizeof *import, "an import");
        if (import->Name == 0) break;
        const char *module = piece(image, import->Name, 1, "a module's name");
        ULONG lookup = import->LookupTable != 0 ? import->LookupTable : import->AddressTable;
        for (ULONG entry = 0;; entry++) {
            const ULONG64 *name = piece(image, lookup + entry * 8ul, 8, "an import");
            if (*name == 0) break;
            if (*name >> 63 != 0) FATAL("%s imports number %d of %s; drivers import by name", image->file, (int)(*name & 0xffff), module);
            const char *text = piece(image, (*name & 0x7fffffff) + 2, 1, "an import's name");
            PVOID found = loader_find(module, text);
            if (!CHECK(found != NULL, "%s imports %s from %s, which this host does not know", image->file, text, module)) missing++;
            *(PVOID *)piece(image, import->AddressTable + entry * 8ul, 8, "an import") = found;
        }
    }
    if (missing > 0) FATAL("%s cannot be loaded: %d imports are unknown", image->file, missing);
}

static void protect(const Image *image, const Headers *headers) {
    mprotect(image->base, headers->SizeOfHeaders, PROT_READ);
    const Section *section = sections_of(headers);
    for (int at = 0; at < headers->NumberOfSections; at++, section++) {
        bool write = section->Characteristics & SECTION_WRITE, execute = section->Characteristics & SECTION_EXECUTE;
        CHECK(!write || !execute, "%s: section %.8s can be written and executed", image->file, section->Name);
        int protection = PROT_READ | (write ? PROT_WRITE : 0) | (execute ? PROT_EXEC : 0);
        mprotect(image->base + section->VirtualAddress, section->VirtualSize, protection);
    }
}

Image loader_load(const char *file) {
    size_t size = 0;
    const UCHAR *bytes = read_file(file, &size);
    ULONG at = 0;
    if (size > 0x40) memcpy(&at, bytes + 0x3c, sizeof at);
    if (size < 0x40 || memcmp(bytes, "MZ", 2) != 0 || at > size) FATAL("%s is no PE image", file);
    const Headers *headers = (const Headers *)(bytes + at);
    check_headers(file, headers, size - at);
    Image image = {.file = file};
    map_sections(&image, bytes, size, headers);
    munmap((void *)bytes, size);
    headers = headers_of(&image);
    relocate(&image, headers);
    loaded = image;
    bind_imports(&image, headers);
    protect(&image, headers);
    image.entry = (DRIVER_INITIALIZE *)(uintptr_t)piece(&image, headers->AddressOfEntryPoint, 1, "the entry");
    loaded = image;
    return image;
}

void loader_discard(const Image *image) {
    const Headers *headers = headers_of(image);
    const Section *section = sections_of(headers);
    for (int at = 0; at < headers->NumberOfSections; at++, section++)
        if (section->Characteristics & SECTION_DISCARDABLE) mprotect(image->base + section->VirtualAddress, section->VirtualSize, PROT_NONE);
}

void loader_unload(const Image *image) { mprotect(image->base, image->size, PROT_NONE); }

size_t loader_writable(const Image *image) {
    const Headers *headers = headers_of(image);
    const Section *section = sections_of(headers);
    size_t bytes = 0;
    for (int at = 0; at < headers->NumberOfSections; at++, section++)
        if (section->Characteristics & SECTION_WRITE) bytes += section->VirtualSize;
    return bytes;
}

const char *loader_where(const void *address) {
    enum { TEXTS = 4 };
    static _Thread_local char texts[TEXTS][64];
    static _Thread_local int next;
    char *text = texts[next++ % TEXTS];
    size_t at = (size_t)((const UCHAR *)address - loaded.base);
    if (loaded.base != NULL && (const UCHAR *)address >= loaded.base && at < loaded.size) snprintf(text, sizeof texts[0], "driver+%#zx", at);
    else snprintf(text, sizeof texts[0], "outside of the driver");
    return text;
}
