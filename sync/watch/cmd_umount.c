/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/cli.h"
#include "cache/base/disk/mount_path.h"
#include "cache/base/log.h"
#include "sync/watch/commands.h"
#include "sync/watch/control.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define END_TIMEOUT_MS 30000

static const char help[] =
	"usage: depotfs umount MOUNTPOINT\n"
	"\n"
	"Ends the mirror on MOUNTPOINT and waits until its daemon has left the\n"
	"cache directory. Fails if somebody has files of it open.\n";

/* The daemon's process as a descriptor, -1 if none answers. */
static int daemon_pidfd(const char *mountpoint)
{
	AUTO_BUFFER struct buffer reply = BUFFER_INIT(CONTROL_REPLY_MAX);

	if (control_call(mountpoint, "{\"verb\":\"status\"}", &reply) < 0 ||
		buffer_add(&reply, "", 1) < 0)
		return -1;
	cJSON *status = cJSON_Parse((const char *)reply.data);
	const cJSON *pid = cJSON_GetObjectItemCaseSensitive(status, "pid");
	int fd =
		cJSON_IsNumber(pid) ? (int)syscall(SYS_pidfd_open, pid->valueint, 0) : -1;

	cJSON_Delete(status);
	return fd;
}

/* Users who are not root unmount with FUSE's own helper. */
static int unmount_as_user(const char *mountpoint)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return -errno;
	if (child == 0) {
		execlp("fusermount3", "fusermount3", "-u", "--", mountpoint,
			(char *)NULL);
		_exit(127);
	}
	if (waitpid(child, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

static int unmount(const char *mountpoint)
{
	int r = 0;

	if (umount2(mountpoint, UMOUNT_NOFOLLOW) < 0)
		r = errno == EPERM ? unmount_as_user(mountpoint) : -errno;
	if (r == -EBUSY)
		return log_error_errno(r,
			"%s is in use: 'fuser -vm %s' lists by whom; end them and try "
			"again",
			mountpoint, mountpoint);
	if (r == -EINVAL)
		return log_error_errno(r, "nothing is mounted on %s", mountpoint);
	if (r < 0)
		return log_error_errno(
			r, "cannot unmount %s: %s", mountpoint, log_strerror(r));
	return 0;
}

int cmd_umount(int argc, char **argv)
{
	int status = cli_plain_options(argc, argv, help, NULL);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind != 1)
		return cli_usage_error("umount", "a mountpoint is wanted");
	char path[PATH_MAX];
	int r = mount_path_of(argv[optind], path);

	if (r < 0) {
		log_error("cannot find the mountpoint %s: %s", argv[optind],
			log_strerror(r));
		return EXIT_FAILED;
	}
	AUTO_CLOSE int pidfd = daemon_pidfd(path);

	if (pidfd < 0)
		log_warn("no daemon answers for %s", path);
	if (unmount(path) < 0)
		return EXIT_FAILED;
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	int n = pidfd < 0 ? 1 : poll(&ended, 1, END_TIMEOUT_MS);

	while (n < 0 && errno == EINTR)
		n = poll(&ended, 1, END_TIMEOUT_MS);
	if (n <= 0) {
		log_error("%s is unmounted, but its daemon still runs after %d s",
			argv[optind], END_TIMEOUT_MS / 1000);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}
