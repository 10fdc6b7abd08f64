/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/cli.h"

#include <stdarg.h>

int cli_usage_error(const char *verb, const char *fmt, ...)
{
	va_list args;

	(void)fprintf(stderr, "depotfs %s: ", verb);
	va_start(args, fmt);
	(void)vfprintf(stderr, fmt, args);
	va_end(args);
	(void)fprintf(stderr, "\nsee 'depotfs %s --help'\n", verb);
	return EXIT_USAGE;
}

int cli_help(const char *help)
{
	return fputs(help, stdout) < 0 || fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
}
