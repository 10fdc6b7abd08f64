/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/cli.h"
#include "sync/jobs/commands/commands.h"
#include "sync/watch/control_verbs.h"

#include <getopt.h>
#include <string.h>

static const char help[] = "usage: depotfs reload MOUNTPOINT\n"
			   "\n"
			   "Reads the mount's configuration file (conf=FILE) anew. What "
			   "cannot be read changes\n"
			   "nothing.\n";

int cmd_reload(int argc, char **argv)
{
	static const struct option longopts[] = {{"help", no_argument, NULL, 'h'}, {0}};
	AUTO_JSON cJSON *request = control_request("reload");
	AUTO_JSON cJSON *answer = NULL;
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", longopts, NULL)) != -1)
		return c == 'h' ? cli_help(help)
				: cli_usage_error("reload", "unknown option");
	if (argc - optind != 1)
		return cli_usage_error("reload", "a mountpoint is wanted");
	return control_ask(argv[optind], request, &answer) < 0 ? EXIT_FAILED : EXIT_DONE;
}
