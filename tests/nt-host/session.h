/* A conversation about one driver. */
#ifndef TRUEMUTE_NT_HOST_SESSION_H
#define TRUEMUTE_NT_HOST_SESSION_H

#include "loader.h"

void run_session(const Image *image);

#endif
