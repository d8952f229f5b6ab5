/* A host for the HAL plug-in, in place of coreaudiod's helper:
 *     hal-host sizes
 *     hal-host PLUGIN FACTORY interface | properties TABLE | clients | session
 * Exit code 0: every check held. */
#include <stdio.h>
#include <string.h>

#include "../c-host/check.h"
#include "parts.h"

int main(int count, char **words) {
    if (count == 2 && strcmp(words[1], "sizes") == 0) return print_sizes();
    if (count < 4) {
        fprintf(stderr, "usage: hal-host sizes | PLUGIN FACTORY interface|properties TABLE|clients|session\n");
        return 2;
    }
    Factory factory = plugin_load(words[1], words[2]);
    const char *what = words[3];
    if (strcmp(what, "interface") == 0) check_interface(factory);
    else if (strcmp(what, "properties") == 0 && count == 5) check_properties(factory, words[4]);
    else if (strcmp(what, "clients") == 0) check_clients(factory);
    else if (strcmp(what, "session") == 0) run_session(factory);
    else {
        fprintf(stderr, "hal-host does not know \"%s\" with so many words\n", what);
        return 2;
    }
    return check_end();
}
