/* The kernel's strings. */
#ifndef TRUEMUTE_NT_HOST_TEXT_H
#define TRUEMUTE_NT_HOST_TEXT_H

#include "nt.h"

/* As ASCII; false if it is something else, has no terminated length or does not fit. */
bool text_of(const UNICODE_STRING *string, char *text, size_t room);

/* The system has no function of this name to give at run time. */
void text_lack(const char *name);

#endif
