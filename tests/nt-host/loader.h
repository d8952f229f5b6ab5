/* Brings a driver's file into memory as Windows would: sections at their places with their protection, relocations, imports by
 * name from the doubles of this host. */
#ifndef TRUEMUTE_NT_HOST_LOADER_H
#define TRUEMUTE_NT_HOST_LOADER_H

#include "nt.h"

typedef struct {
    const char *file;
    UCHAR *base;
    size_t size;
    DRIVER_INITIALIZE *entry;
} Image;

/* Ends the program if the file is none that Windows would load, or imports what no double answers. */
Image loader_load(const char *file);
/* What Windows discards once DriverEntry has returned cannot be touched any more. */
void loader_discard(const Image *image);
/* After the driver is unloaded nothing of it can be touched. */
void loader_unload(const Image *image);
/* How many bytes of it can be written. */
size_t loader_writable(const Image *image);
/* For messages: "driver+0x1234", "freed or foreign"... The text lasts until the thread's fourth next call. */
const char *loader_where(const void *address);
/* The double of this name, or NULL. */
PVOID loader_find(const char *module, const char *name);

#endif
