/* A host for a Windows driver, in place of Windows: loads the driver's file unchanged and does what it reads, line by line
 * (session.c lists the orders):
 *     nt-host DRIVER [COUNTER_HZ [NAME...]]     in a system that lacks these functions for who asks for them at run time
 *     nt-host layouts
 * Exit code 0: the driver did nothing that Windows would not bear, and left nothing behind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../c-host/check.h"
#include "layouts.h"
#include "loader.h"
#include "machine.h"
#include "session.h"
#include "text.h"

int main(int count, char **words) {
    if (count == 2 && strcmp(words[1], "layouts") == 0) return print_layouts();
    if (count < 2) {
        fprintf(stderr, "usage: nt-host DRIVER [COUNTER_HZ [NAME...]] | layouts\n");
        return 2;
    }
    if (count > 2) time_set_frequency(strtoull(words[2], NULL, 10));
    for (int at = 3; at < count; at++) text_lack(words[at]);
    pool_catch_faults();
    Image image = loader_load(words[1]);
    run_session(&image);
    return check_end();
}
