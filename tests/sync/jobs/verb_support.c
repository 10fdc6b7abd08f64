/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sync/jobs/verb_support.h"

#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "sync/watch/control.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 8

char verb_output[1 << 20];

static const struct scratch *place;
static const struct control_verbs *verb_set;
static struct control *control;

static int answer(void *arg, const char *request, struct buffer *reply)
{
	(void)arg;
	return control_verbs_answer(verb_set, request, reply);
}

void verb_daemon_start(const struct scratch *scratch, const struct control_verbs *verbs)
{
	place = scratch;
	verb_set = verbs;
	if (geteuid() != 0)
		assert_int_equal(setenv("XDG_RUNTIME_DIR", scratch->path, 1), 0);
	assert_int_equal(control_start(scratch->path, answer, NULL, &control), 0);
}

void verb_daemon_stop(void)
{
	char path[CONTROL_PATH_SIZE];
	char lock[CONTROL_PATH_SIZE + 8];

	control_stop(control);
	assert_int_equal(control_path(place->path, path), 0);
	*strrchr(path, '.') = '\0';
	(void)snprintf(lock, sizeof(lock), "%s.lock", path);
	(void)unlink(lock);
}

/* In a child: stdout goes to the file `output`. */
static void run_child(int (*cmd)(int argc, char **argv), int argc, char **argv)
{
	int fd = openat(place->fd, "output", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
		_exit(99);
	int r = cmd(argc, argv);

	(void)fflush(stdout);
	_exit(r);
}

int verb_run(int (*cmd)(int argc, char **argv), const char *name, const char *const *more)
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(sizeof(verb_output) - 1);
	char *argv[ARGUMENTS_MAX + 1] = {mem_strdup(name), mem_strdup(place->path)};
	int argc = 2;
	int status;

	while (argc < ARGUMENTS_MAX && more && *more)
		argv[argc++] = mem_strdup(*more++);
	(void)fflush(NULL);
	pid_t pid = fork();

	if (pid == 0)
		run_child(cmd, argc, argv);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	assert_int_equal(io_read_file(place->fd, "output", &text), 0);
	if (text.len)
		memcpy(verb_output, text.data, text.len);
	verb_output[text.len] = '\0';
	return WEXITSTATUS(status);
}
