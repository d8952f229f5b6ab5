/* Calls that fail because somebody said so, so that the driver's ways out are gone, too. */
#include <stdio.h>
#include <string.h>

#include "machine.h"

static char ordered[48];
static long left;

void failures_order(const char *function, long nth) {
    snprintf(ordered, sizeof ordered, "%s", function);
    left = nth;
}

bool failures_happened(void) { return ordered[0] != 0 && left <= 0; }

bool failures_now(const char *function) { return left > 0 && strcmp(ordered, function) == 0 && --left == 0; }
