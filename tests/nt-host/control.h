/* The requests of TrueMute's control device, and a feeder that sends a ramp by them. */
#ifndef TRUEMUTE_NT_HOST_CONTROL_H
#define TRUEMUTE_NT_HOST_CONTROL_H

#include "devices.h"

/* Answers an order about them; false if it is none. */
bool control_answer(const char *verb, const char *words);
/* The handle that the words begin with; NULL if there is none. */
Handle *session_handle(const char *words);

/* One period of the feeder's life: it feeds what it captured and renews its lease, if it was told to. Gives the nanoseconds that
 * the feeds took. */
double feeder_step(void);
/* It unmutes once more, as it was told the last time. */
NTSTATUS feeder_open(void);
/* It mutes, and gives the nanoseconds that it took. */
double feeder_mute(void);
/* The position of the driver's clock, as the driver said it; for a moment of the performance counter. */
bool control_clock(const Handle *handle, ULONG64 *host_ns, ULONG64 *position);
/* The feeder's handle; NULL without one. */
const Handle *feeder_handle(void);
/* What must lie at a position: the left sample is the position's low bits plus one, never 0. */
int32_t ramp_at(ULONG64 position);

#endif
