/* Figures of measurements: a clock, and rows of numbers in JSON. */
#ifndef TRUEMUTE_C_HOST_ROWS_H
#define TRUEMUTE_C_HOST_ROWS_H

/* Nanoseconds of the monotonic clock. */
double monotonic_ns(void);
/* "NAME":[...] */
void print_row(const char *name, const double *row, int rounds);

#endif
