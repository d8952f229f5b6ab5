/* The audio engine: opens the pin, lets it run, fetches packets and looks at every frame. */
#ifndef TRUEMUTE_NT_HOST_ENGINE_H
#define TRUEMUTE_NT_HOST_ENGINE_H

#include "nt.h"

/* Answers an order about it; false if it is none. */
bool engine_answer(const char *verb, const char *words);

#endif
