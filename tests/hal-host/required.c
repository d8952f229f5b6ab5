/* After the property lists of AudioHardwareBase.h and AudioServerPlugIn.h, and what TrueMute's device is to be: one format, input
 * only, the default input if a person wants it, never the system's device for alerts. */
#include "required.h"

#define NUMBER_OF(class, a, b, c, d, scope, value) {class, CODE(a, b, c, d), scope, NUMBER, 4, value, NULL}
#define TEXT_OF(class, a, b, c, d, text) {class, CODE(a, b, c, d), kScopeGlobal, TEXT, 8, -1, text}
#define LIST_OF(class, a, b, c, d, scope, size, count) {class, CODE(a, b, c, d), scope, LIST, size, count, NULL}
#define BYTES_OF(class, a, b, c, d, scope, size) {class, CODE(a, b, c, d), scope, BYTES, size, -1, NULL}

enum { G = kScopeGlobal, IN = kScopeInput, OUT = kScopeOutput };

const Required required[] = {
    NUMBER_OF(PLUG_IN, 'b', 'c', 'l', 's', G, CODE('a', 'o', 'b', 'j')),
    NUMBER_OF(PLUG_IN, 'c', 'l', 'a', 's', G, CODE('a', 'p', 'l', 'g')),
    NUMBER_OF(PLUG_IN, 's', 't', 'd', 'v', G, 0),
    TEXT_OF(PLUG_IN, 'l', 'm', 'a', 'k', NULL),
    LIST_OF(PLUG_IN, 'o', 'w', 'n', 'd', G, 4, 1),
    LIST_OF(PLUG_IN, 'd', 'e', 'v', '#', G, 4, 1),
    LIST_OF(PLUG_IN, 'b', 'o', 'x', '#', G, 4, 0),
    TEXT_OF(PLUG_IN, 'r', 's', 'r', 'c', ""),

    NUMBER_OF(DEVICE, 'b', 'c', 'l', 's', G, CODE('a', 'o', 'b', 'j')),
    NUMBER_OF(DEVICE, 'c', 'l', 'a', 's', G, CODE('a', 'd', 'e', 'v')),
    NUMBER_OF(DEVICE, 's', 't', 'd', 'v', G, kPlugInObject),
    TEXT_OF(DEVICE, 'l', 'n', 'a', 'm', "TrueMute Microphone"),
    TEXT_OF(DEVICE, 'l', 'm', 'a', 'k', NULL),
    TEXT_OF(DEVICE, 'u', 'i', 'd', ' ', NULL),
    TEXT_OF(DEVICE, 'm', 'u', 'i', 'd', NULL),
    LIST_OF(DEVICE, 'o', 'w', 'n', 'd', G, 4, 1),
    LIST_OF(DEVICE, 'o', 'w', 'n', 'd', IN, 4, 1),
    LIST_OF(DEVICE, 'o', 'w', 'n', 'd', OUT, 4, 0),
    NUMBER_OF(DEVICE, 't', 'r', 'a', 'n', G, CODE('v', 'i', 'r', 't')),
    LIST_OF(DEVICE, 'a', 'k', 'i', 'n', G, 4, 1),
    NUMBER_OF(DEVICE, 'c', 'l', 'k', 'd', G, -1),
    NUMBER_OF(DEVICE, 'l', 'i', 'v', 'n', G, 1),
    NUMBER_OF(DEVICE, 'g', 'o', 'i', 'n', G, 0),
    NUMBER_OF(DEVICE, 'd', 'f', 'l', 't', IN, 1),
    NUMBER_OF(DEVICE, 'd', 'f', 'l', 't', OUT, 0),
    NUMBER_OF(DEVICE, 's', 'f', 'l', 't', IN, 0),
    NUMBER_OF(DEVICE, 's', 'f', 'l', 't', OUT, 0),
    NUMBER_OF(DEVICE, 'l', 't', 'n', 'c', IN, -1),
    NUMBER_OF(DEVICE, 's', 'a', 'f', 't', IN, 1024),
    LIST_OF(DEVICE, 's', 't', 'm', '#', G, 4, 1),
    LIST_OF(DEVICE, 's', 't', 'm', '#', IN, 4, 1),
    LIST_OF(DEVICE, 's', 't', 'm', '#', OUT, 4, 0),
    LIST_OF(DEVICE, 'c', 't', 'r', 'l', G, 4, 0),
    {DEVICE, CODE('n', 's', 'r', 't'), G, RATE, 8, 48000, NULL},
    LIST_OF(DEVICE, 'n', 's', 'r', '#', G, 16, 1),
    NUMBER_OF(DEVICE, 'h', 'i', 'd', 'n', G, 0),
    LIST_OF(DEVICE, 'd', 'c', 'h', '2', IN, 4, 2),
    BYTES_OF(DEVICE, 's', 'r', 'n', 'd', IN, 0),
    NUMBER_OF(DEVICE, 'r', 'i', 'n', 'g', G, 16384),
    LIST_OF(DEVICE, 'c', 'u', 's', 't', G, 12, 2),

    NUMBER_OF(STREAM, 'b', 'c', 'l', 's', G, CODE('a', 'o', 'b', 'j')),
    NUMBER_OF(STREAM, 'c', 'l', 'a', 's', G, CODE('a', 's', 't', 'r')),
    NUMBER_OF(STREAM, 's', 't', 'd', 'v', G, -1),
    LIST_OF(STREAM, 'o', 'w', 'n', 'd', G, 4, 0),
    NUMBER_OF(STREAM, 's', 'a', 'c', 't', G, 1),
    NUMBER_OF(STREAM, 's', 'd', 'i', 'r', G, 1),
    NUMBER_OF(STREAM, 't', 'e', 'r', 'm', G, CODE('m', 'i', 'c', 'r')),
    NUMBER_OF(STREAM, 's', 'c', 'h', 'n', G, 1),
    NUMBER_OF(STREAM, 'l', 't', 'n', 'c', G, -1),
    BYTES_OF(STREAM, 's', 'f', 'm', 't', G, sizeof(AudioStreamBasicDescription)),
    BYTES_OF(STREAM, 'p', 'f', 't', ' ', G, sizeof(AudioStreamBasicDescription)),
    LIST_OF(STREAM, 's', 'f', 'm', 'a', G, sizeof(AudioStreamRangedDescription), 1),
    LIST_OF(STREAM, 'p', 'f', 't', 'a', G, sizeof(AudioStreamRangedDescription), 1),
};

const unsigned required_count = sizeof required / sizeof required[0];
