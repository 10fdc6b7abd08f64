/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a fuzz target is: a function that eats bytes. Built with libFuzzer under the preset
 * `fuzz`, and with run_corpus.c as a test everywhere else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Always 0. Anything that must not happen aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether the decoder took the last input as it was: run_corpus.c compares it with the
 * input's name (sound-..., should-fail-...). */
extern bool fuzz_was_accepted;

#define MUST(condition)                                                                  \
	do {                                                                             \
		if (!(condition))                                                        \
			__builtin_trap();                                                \
	} while (0)
