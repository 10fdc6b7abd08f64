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

int cli_short_options(int argc, char **argv, const char *letters,
	const struct option *options, const char *help,
	int (*take)(void *arg, int option), void *arg)
{
	int r = 0;
	int c;

	optind = 1;
	while (r == 0 && (c = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		if (c == 'h')
			return cli_help(help);
		r = c == '?' ? -1 : take(arg, c);
	}
	if (r < 0)
		return cli_usage_error(argv[0], "unknown option");
	return r == 0 ? CLI_GO_ON : r;
}

int cli_options(int argc, char **argv, const struct option *options, const char *help,
	int (*take)(void *arg, int option), void *arg)
{
	return cli_short_options(argc, argv, "h", options, help, take, arg);
}

static int take_json(void *arg, int option)
{
	bool *as_json = arg;

	if (option != 'j' || !as_json)
		return -1;
	*as_json = true;
	return 0;
}

int cli_plain_options(int argc, char **argv, const char *help, bool *as_json)
{
	static const struct option with_json[] = {
		{"help", no_argument, NULL, 'h'}, {"json", no_argument, NULL, 'j'}, {0}};
	static const struct option without[] = {{"help", no_argument, NULL, 'h'}, {0}};

	return cli_options(
		argc, argv, as_json ? with_json : without, help, take_json, as_json);
}

struct cli_bytes cli_bytes(double bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	struct cli_bytes out;
	size_t unit = 0;

	while (bytes >= 1023.5 && unit < ARRAY_SIZE(units) - 1) {
		bytes /= 1024;
		unit++;
	}
	(void)snprintf(out.text, sizeof(out.text), "%.*f %s",
		unit && bytes < 99.95 ? 1 : 0, bytes, units[unit]);
	return out;
}
