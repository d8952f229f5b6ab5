/* What a HAL asks of an input-only device, whatever the plug-in's own table says. */
#ifndef TRUEMUTE_HAL_HOST_REQUIRED_H
#define TRUEMUTE_HAL_HOST_REQUIRED_H

#include "plugin.h"

typedef enum { PLUG_IN, DEVICE, STREAM } Class;
typedef enum { NUMBER, TEXT, RATE, LIST, BYTES } Answer;

typedef struct {
    Class class;
    UInt32 selector;
    UInt32 scope;
    Answer answer;
    /* Bytes of the answer; of one member for a list. */
    UInt32 size;
    /* The number itself, or how many members the list has; -1: not known beforehand. */
    SInt64 value;
    /* The text, where it is known. */
    const char *text;
} Required;

extern const Required required[];
extern const unsigned required_count;

#endif
