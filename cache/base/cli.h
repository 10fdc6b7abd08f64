/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What every verb shares. A verb is `int cmd_NAME(int argc, char **argv)` with argv[0] the
 * verb's own name; it returns an exit status and parses with getopt_long(3).
 */
#pragma once

#include "cache/base/cleanup.h"

enum exit_status {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_SHORT = 3, /* the thing reported on falls short (report, verify, check) */
};

/* Prints "depotfs VERB: message" and where help is to stderr; returns EXIT_USAGE. */
int cli_usage_error(const char *verb, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Prints `help` to stdout and returns EXIT_DONE. */
int cli_help(const char *help);
