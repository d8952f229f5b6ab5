/* Two processors in the driver at once. */
#ifndef TRUEMUTE_NT_HOST_RACE_H
#define TRUEMUTE_NT_HOST_RACE_H

#include "portcls.h"

/* Lets mutes come at any instant of the timer's work on another processor, so many times, and answers with what was found. */
void answer_race(IMiniportWaveRTInputStream *input, const UCHAR *buffer, ULONG bytes, int rounds);

#endif
