/* How long the driver takes. */
#ifndef TRUEMUTE_NT_HOST_TIMING_H
#define TRUEMUTE_NT_HOST_TIMING_H

#include "portcls.h"

/* Times a stream that runs and is fed, and answers with nanoseconds for each round. */
void answer_timing(IMiniportWaveRTInputStream *input, const UCHAR *buffer, ULONG bytes, int rounds);

#endif
