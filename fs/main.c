/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The program: a table of verbs. */
#include "cache/base/cli.h"
#include "fs/mount_main.h"
#include "sync/jobs/commands/commands.h"
#include "sync/jobs/records/commands.h"
#include "sync/master/commands.h"
#include "sync/upkeep/commands.h"
#include "sync/watch/commands.h"

#include <string.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} verbs[] = {
	{"init", cmd_init, "make a depot and its keys"},
	{"publish", cmd_publish, "publish a tree as a new revision"},
	{"policy", cmd_policy, "publish schedules and windows for mirrors"},
	{"log", cmd_log, "list a depot's revisions"},
	{"check", cmd_check, "prove a depot whole"},
	{"mount", cmd_mount, "show a depot as a directory"},
	{"umount", cmd_umount, "take a mount away"},
	{"status", cmd_status, "what a mount serves and how it fares"},
	{"report", cmd_report, "how each package stands against the master"},
	{"reload", cmd_reload, "read a mount's configuration file anew"},
	{"sync", cmd_sync, "bring a mount up to date"},
	{"jobs", cmd_jobs, "what a mount runs, and what waits"},
	{"job", cmd_job, "show a run, or end it"},
	{"schedule", cmd_schedule, "when a mount syncs by itself"},
	{"history", cmd_history, "what a mount's runs did"},
	{"prefetch", cmd_prefetch, "fetch what is below a path"},
	{"pin", cmd_pin, "keep what is below a path, for ever"},
	{"unpin", cmd_unpin, "take a pin back"},
	{"evict", cmd_evict, "remove what is below a path from the cache"},
	{"verify", cmd_verify, "check what is cached below a path"},
};

static int print_verbs(FILE *to)
{
	(void)fprintf(to,
		"depotfs %s: a local, always readable copy of a package tree\n\n"
		"usage: depotfs VERB ...    ('depotfs VERB --help' tells more)\n\n",
		DEPOTFS_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		(void)fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
	return fflush(to) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_verbs(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
		return print_verbs(stdout);
	if (strcmp(argv[1], "--version") == 0)
		return printf("depotfs %s\n", DEPOTFS_VERSION) < 0 ? EXIT_FAILED
								   : EXIT_DONE;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	(void)fprintf(stderr, "depotfs: there is no verb '%s'\n", argv[1]);
	print_verbs(stderr);
	return EXIT_USAGE;
}
