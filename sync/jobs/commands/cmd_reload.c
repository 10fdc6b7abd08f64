/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/cli.h"
#include "sync/jobs/commands/commands.h"
#include "sync/watch/control_verbs.h"

#include <string.h>

static const char help[] = "usage: depotfs reload MOUNTPOINT\n"
			   "\n"
			   "Reads the mount's configuration file (conf=FILE) anew. What "
			   "cannot be read changes\n"
			   "nothing.\n";

int cmd_reload(int argc, char **argv)
{
	AUTO_JSON cJSON *request = control_request("reload");
	AUTO_JSON cJSON *answer = NULL;
	int status = cli_plain_options(argc, argv, help, NULL);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 1)
		return cli_usage_error("reload", "a mountpoint is wanted");
	return control_ask(argv[optind], request, &answer) < 0 ? EXIT_FAILED : EXIT_DONE;
}
