/* The count of checks. */
#include "check.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* After so many failures the rest is counted and not printed. */
enum { PRINTED = 50 };

static atomic_long made, failed;

static void print_failed(const char *file, int line, const char *format, va_list words) {
    const char *name = strrchr(file, '/');
    char text[512];
    vsnprintf(text, sizeof text, format, words);
    printf("FAILED %s:%d: %s\n", name != NULL ? name + 1 : file, line, text);
    fflush(stdout);
}

bool check(bool holds, const char *file, int line, const char *format, ...) {
    made++;
    if (holds) return true;
    if (++failed > PRINTED) return false;
    va_list words;
    va_start(words, format);
    print_failed(file, line, format, words);
    va_end(words);
    return false;
}

void check_fatal(const char *file, int line, const char *format, ...) {
    va_list words;
    va_start(words, format);
    print_failed(file, line, format, words);
    va_end(words);
    _exit(1);
}

int check_end(void) {
    printf("%ld checks, %ld failed\n", (long)made, (long)failed);
    fflush(stdout);
    return failed == 0 && made > 0 ? 0 : 1;
}
