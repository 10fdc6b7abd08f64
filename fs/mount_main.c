/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/mount_main.h"

#include "cache/base/cli.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "fs/mirror_main.h"
#include "fs/mount/daemonize.h"
#include "fs/mount/mount_options.h"
#include "sync/jobs/job_log.h"
#include "sync/jobs/settings.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

/* The cache's folders, connections, threads, and some files of users. */
#define NOFILE_MIN 512

static int raise_limits(void)
{
	struct rlimit limit;

	io_raise_nofile();
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < NOFILE_MIN)
		return log_error_errno(-EMFILE,
			"only %llu open files are allowed, and %d are the least: raise "
			"'ulimit -n' (LimitNOFILE= in a service)",
			(unsigned long long)limit.rlim_cur, NOFILE_MIN);
	return 0;
}

static int serve(
	const struct mount_options *o, struct settings *settings, struct daemonize *d)
{
	struct mirror *m = NULL;
	int r = o->log ? log_open(o->log) : 0;

	if (r < 0)
		return log_error_errno(
			r, "cannot write the log file %s: %s", o->log, log_strerror(r));
	char reason[TEXT_REASON_SIZE];

	if (settings->logdir)
		r = job_log_claim(settings->logdir, o->mountpoint, reason);
	if (r < 0)
		return log_error_errno(r, "%s", reason);
	if (settings->logdir)
		r = job_log_begin(settings->logdir);
	if (r < 0)
		return log_error_errno(r, "cannot write logs into %s: %s",
			settings->logdir, log_strerror(r));
	r = raise_limits();
	if (r == 0)
		r = mirror_new(o, settings, &m);
	if (r == 0)
		r = mirror_open(m);
	if (r == 0)
		r = daemonize_ready(d);
	if (r == 0)
		r = mirror_serve(m);
	mirror_free(m);
	return r;
}

int cmd_mount(int argc, char **argv)
{
	struct mount_options options;
	struct settings settings = {0};
	struct daemonize d;
	int status = EXIT_USAGE;

	/* neither a command that was interrupted nor a peer may end the daemon */
	(void)signal(SIGPIPE, SIG_IGN);
	int r = mount_options_parse(argc, argv, &options);

	if (r == -ENOMEM)
		status = EXIT_FAILED;
	if (r < 0)
		goto out;
	if (options.is_help) {
		status = printf("%s%s", mount_options_help, settings_help) < 0 ||
					 fflush(stdout)
				 ? EXIT_FAILED
				 : EXIT_DONE;
		goto out;
	}
	char reason[TEXT_REASON_SIZE] = "out of memory";

	r = mirror_settings_read(&options, &settings, reason);
	if (r < 0) {
		if (options.conf)
			log_error("%s", reason);
		else
			cli_usage_error("mount", "%s", reason);
		goto out;
	}
	r = daemonize_begin(!options.is_foreground, &d, &status);
	if (r < 0) {
		status = EXIT_FAILED;
		log_error("cannot start the daemon: %s", log_strerror(r));
	} else if (d.is_daemon) {
		status = serve(&options, &settings, &d) < 0 ? EXIT_FAILED : EXIT_DONE;
		daemonize_end(&d, status);
	}
out:
	settings_release(&settings);
	mount_options_release(&options);
	return status;
}
