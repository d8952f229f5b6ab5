/* As much of CoreFoundation as a HAL plug-in calls, for a system that has none. This program exports it; the plug-in finds it
 * here when it is loaded. Every object is counted and none is ever reused, so that what a plug-in keeps too long or lets go
 * of twice is seen (live objects; a stop with a message). */
#ifndef TRUEMUTE_HAL_HOST_FOUNDATION_H
#define TRUEMUTE_HAL_HOST_FOUNDATION_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t UInt8;
typedef uint16_t UInt16;
typedef uint32_t UInt32;
typedef uint64_t UInt64;
typedef int16_t SInt16;
typedef int32_t SInt32;
typedef int64_t SInt64;
typedef unsigned char Boolean;
typedef long CFIndex;
typedef unsigned long CFTypeID;
typedef const void *CFTypeRef;
typedef const void *CFAllocatorRef;

typedef struct {
    UInt8 bytes[16];
} CFUUIDBytes;

enum { kCFStringEncodingUTF8 = 0x08000100 };

CFTypeRef CFRetain(CFTypeRef object);
void CFRelease(CFTypeRef object);
Boolean CFEqual(CFTypeRef one, CFTypeRef other);
CFIndex CFGetRetainCount(CFTypeRef object);
CFTypeID CFGetTypeID(CFTypeRef object);

CFTypeID CFStringGetTypeID(void);
CFTypeRef CFStringCreateWithCString(CFAllocatorRef allocator, const char *text, UInt32 encoding);
CFTypeRef CFStringCreateWithBytes(CFAllocatorRef allocator, const UInt8 *bytes, CFIndex length, UInt32 encoding, Boolean external);
Boolean CFStringGetCString(CFTypeRef string, char *room, CFIndex size, UInt32 encoding);
CFIndex CFStringGetLength(CFTypeRef string);
CFIndex CFStringGetMaximumSizeForEncoding(CFIndex length, UInt32 encoding);

CFTypeID CFUUIDGetTypeID(void);
CFTypeRef CFUUIDCreateFromUUIDBytes(CFAllocatorRef allocator, CFUUIDBytes bytes);
CFUUIDBytes CFUUIDGetUUIDBytes(CFTypeRef uuid);

/* How many objects are alive, those that are never let go of left out. */
long foundation_live(void);
/* The object as a property list in XML, as CFPropertyListCreateData writes it but in one line, into memory that the caller
 * frees. */
char *foundation_property_list(CFTypeRef object);

#endif
