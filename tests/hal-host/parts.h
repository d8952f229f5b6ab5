/* What this program can be asked to do, a file each. */
#ifndef TRUEMUTE_HAL_HOST_PARTS_H
#define TRUEMUTE_HAL_HOST_PARTS_H

#include "plugin.h"

/* Sizes and offsets of the declarations. */
int print_sizes(void);
/* Factory, QueryInterface, reference counts, Initialize, calls for objects that there are not. */
void check_interface(Factory factory);
/* Every property of the committed table, and that there is no other. */
void check_properties(Factory factory, const char *table);
/* Clients that come, start, start twice, stop unmatched and vanish, on several threads. The clock. */
void check_clients(Factory factory);
/* Does what it reads, line by line, and answers each line with one. */
void run_session(Factory factory);
/* Times reads of so many clients (numbers 1 on), from a sample time on, and answers with nanoseconds for each round. */
void answer_timing(DriverRef driver, AudioObjectID device, AudioObjectID stream, UInt32 clients, SInt64 from, int rounds);

#endif
