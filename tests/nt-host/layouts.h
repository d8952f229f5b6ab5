/* Sizes and offsets of this host's declarations. */
#ifndef TRUEMUTE_NT_HOST_LAYOUTS_H
#define TRUEMUTE_NT_HOST_LAYOUTS_H

int print_layouts(void);

#endif
