/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What every verb shares. A verb is `int cmd_NAME(int argc, char **argv)` with argv[0] the
 * verb's own name; it returns an exit status and parses with cli_options(), getopt_long(3) behind it.
 */
#pragma once

#include "cache/base/cleanup.h"

#include <getopt.h>
#include <stdbool.h>

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

/* No exit status yet: the verb goes on. */
#define CLI_GO_ON (-1)

/* Reads all options. `h` prints `help`; take() is given each other one (its argument in optarg), and
 * returns 0, -1 if it knows none such, or an exit status after it has said what is wrong. Returns
 * CLI_GO_ON with optind at the first operand, else the exit status to end with. */
int cli_options(int argc, char **argv, const struct option *options, const char *help,
	int (*take)(void *arg, int option), void *arg);

/* As cli_options(), for a verb that has more short options than -h: `letters` as getopt(3) wants
 * them, with the h. */
int cli_short_options(int argc, char **argv, const char *letters,
	const struct option *options, const char *help,
	int (*take)(void *arg, int option), void *arg);

/* For a verb with no options but --help and, unless it is NULL, --json. */
int cli_plain_options(int argc, char **argv, const char *help, bool *as_json);

struct cli_bytes {
	char text[32];
};

/* cli_bytes(n).text is "1.4 GiB": three digits or so and a unit. */
struct cli_bytes cli_bytes(double bytes);
