/* Counts what was looked at and what was not as it must be. A failed check is printed and the program goes on, so that one run
 * shows everything; its exit code says whether anything failed. May be used on any thread. */
#ifndef TRUEMUTE_C_HOST_CHECK_H
#define TRUEMUTE_C_HOST_CHECK_H

#include <stdbool.h>

bool check(bool holds, const char *file, int line, const char *format, ...) __attribute__((format(printf, 4, 5)));
#define CHECK(holds, ...) check((holds), __FILE__, __LINE__, __VA_ARGS__)

/* What nothing can go on after: prints it as a failed check and ends the program. */
_Noreturn void check_fatal(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define FATAL(...) check_fatal(__FILE__, __LINE__, __VA_ARGS__)

/* Prints the sums and gives the program's exit code. */
int check_end(void);

#endif
