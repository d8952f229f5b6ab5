/* The clock and the rows. */
#include "rows.h"

#include <stdio.h>
#include <time.h>

double monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

void print_row(const char *name, const double *row, int rounds) {
    printf("\"%s\":[", name);
    for (int round = 0; round < rounds; round++) printf("%s%.1f", round > 0 ? "," : "", row[round]);
    printf("]");
}
