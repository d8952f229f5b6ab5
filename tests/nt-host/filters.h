/* What a peer reads of the driver's two filters before it makes an endpoint of them. */
#ifndef TRUEMUTE_NT_HOST_FILTERS_H
#define TRUEMUTE_NT_HOST_FILTERS_H

#include "portcls.h"

/* Checks descriptors, connections, properties and data-range intersection, and prints what there is. */
void print_filters(void);
/* A data format as the audio engine would ask for. */
KSDATAFORMAT_WAVEFORMATEXTENSIBLE filters_format(unsigned rate, unsigned channels, unsigned bits, bool is_float);
/* The wave filter's pin that streams; a number that no pin has if there is none. */
ULONG filters_streaming_pin(void);

#endif
