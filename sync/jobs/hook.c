/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/hook.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LINE_MAX_BYTES 1024
#define ENV_MAX	       64
#define GRACE_NS       (5 * NS_PER_SEC)
#define POLL_NS	       (100 * NS_PER_MS)
#define STEP_BYTES     4096
#define PIPE_BYTES     (64 * 1024) /* what it may have left in the pipe at its end */

struct running {
	const struct hook *hook;
	pid_t pid;
	int pidfd;
	int output;    /* what it prints; -1 once it is closed */
	size_t passed; /* bytes of it that went to on_line() */
	bool is_too_much;
	size_t line_len;
	char line[LINE_MAX_BYTES];
};

static int make_input(const struct hook *hook)
{
	int fd = memfd_create("hook-input", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	int r = io_write(fd, hook->input, hook->input_len);

	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* The daemon's threads block signals and it ignores SIGPIPE: a program expects neither. */
static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none;
	sigset_t defaults;

	sigemptyset(&none);
	sigfillset(&defaults);
	posix_spawnattr_setpgroup(attr, 0);
	posix_spawnattr_setsigmask(attr, &none);
	posix_spawnattr_setsigdefault(attr, &defaults);
	return posix_spawnattr_setflags(attr,
		POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int set_files(posix_spawn_file_actions_t *files, int input, int output)
{
	int r = posix_spawn_file_actions_adddup2(files, input, STDIN_FILENO);

	if (r == 0)
		r = posix_spawn_file_actions_adddup2(files, output, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(files, output, STDERR_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_addchdir_np(files, "/");
	return r;
}

static int spawn(const struct hook *hook, int input, int output, pid_t *out)
{
	const char *env[ENV_MAX + 3] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C"};
	const char *argv[] = {hook->path, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	size_t n = 2;

	for (size_t i = 0; hook->env && hook->env[i] && i < ENV_MAX; i++)
		env[n++] = hook->env[i];
	int r = posix_spawn_file_actions_init(&files);

	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r != 0) {
		posix_spawn_file_actions_destroy(&files);
		return -r;
	}
	r = set_attributes(&attr);
	if (r == 0)
		r = set_files(&files, input, output);
	if (r == 0)
		r = posix_spawn(out, hook->path, &files, &attr,
			(char *const *)(void *)argv, (char *const *)(void *)env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

static void pass_line(struct running *run, const char *line)
{
	if (run->hook->on_line)
		run->hook->on_line(run->hook->arg, line);
}

/* It goes to a log: one that never stops talking must not fill the disk. */
static void end_line(struct running *run)
{
	run->line[run->line_len] = '\0';
	run->passed += run->line_len + 1;
	if (run->line_len && run->passed <= HOOK_OUTPUT_MAX) {
		pass_line(run, run->line);
	} else if (run->passed > HOOK_OUTPUT_MAX && !run->is_too_much) {
		run->is_too_much = true;
		pass_line(run, "(what it prints further is left out)");
	}
	run->line_len = 0;
}

/* How many bytes it had to say; 0: none yet, or none any more. */
static size_t take_output(struct running *run)
{
	char step[STEP_BYTES];
	ssize_t n = read(run->output, step, sizeof(step));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		close(TAKE_FD(run->output));
		return 0;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (step[i] == '\n' || run->line_len == sizeof(run->line) - 1)
			end_line(run);
		if (step[i] != '\n')
			run->line[run->line_len++] = step[i];
	}
	return (size_t)n;
}

/* Its last words; what it left in the background may hold the pipe and talk on. */
static void take_rest(struct running *run)
{
	size_t taken = 0;
	size_t n = STEP_BYTES;

	while (run->output >= 0 && n && taken < PIPE_BYTES) {
		n = take_output(run);
		taken += n;
	}
}

/* Passes on what it prints until it has ended (1) or `until_ns` is reached (0). */
static int follow(struct running *run, int64_t until_ns, const atomic_bool *is_cancelled)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = run->pidfd, .events = POLLIN},
			{.fd = run->output, .events = POLLIN}};
		int64_t left_ns = until_ns - clock_mono_ns();

		if (left_ns <= 0 || (is_cancelled && atomic_load(is_cancelled)))
			return 0;
		if (left_ns > POLL_NS)
			left_ns = POLL_NS;
		int n = poll(fds, 2, (int)(left_ns / NS_PER_MS) + 1);

		if (n < 0 && errno != EINTR)
			return 0;
		if (n > 0 && fds[0].revents) {
			take_rest(run);
			return 1;
		}
		if (n > 0 && fds[1].revents)
			(void)take_output(run);
	}
}

static int judge(const struct hook *hook, int status, char *words)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status))
		(void)snprintf(words, HOOK_WORDS_SIZE, "%s ended with status %d",
			hook->path, WEXITSTATUS(status));
	else
		(void)snprintf(words, HOOK_WORDS_SIZE, "%s was ended by signal %d",
			hook->path, WTERMSIG(status));
	return -ECHILD;
}

/* It did not end in time, or is not wanted any more. */
static int stop(struct running *run, char *words)
{
	const struct hook *hook = run->hook;
	bool is_cancelled = hook->is_cancelled && atomic_load(hook->is_cancelled);

	(void)kill(-run->pid, SIGTERM);
	(void)follow(run, clock_mono_ns() + GRACE_NS, NULL);
	if (is_cancelled)
		(void)snprintf(words, HOOK_WORDS_SIZE,
			"%s was ended: the job is cancelled", hook->path);
	else
		(void)snprintf(words, HOOK_WORDS_SIZE,
			"%s was ended: it took longer than %lld s", hook->path,
			(long long)(hook->timeout_ns / NS_PER_SEC));
	return is_cancelled ? -ECANCELED : -ETIMEDOUT;
}

static int watch(struct running *run, char *words)
{
	const struct hook *hook = run->hook;
	int status = 0;
	int r = 0;

	if (!follow(run, clock_mono_ns() + hook->timeout_ns, hook->is_cancelled))
		r = stop(run, words);
	/* and whatever it left behind in its group */
	(void)kill(-run->pid, SIGKILL);
	while (waitpid(run->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	end_line(run);
	return r < 0 ? r : judge(hook, status, words);
}

/* It runs as the daemon's user: only he, or root, may say what it does. */
static int check_owner(const struct hook *hook, char *words)
{
	struct stat st;

	if (stat(hook->path, &st) < 0)
		return 0; /* starting it tells why */
	if ((st.st_uid == 0 || st.st_uid == geteuid()) &&
		!(st.st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	(void)snprintf(words, HOOK_WORDS_SIZE,
		"%s is not run: others than its owner may write it, or its owner is "
		"neither root nor the daemon's user",
		hook->path);
	return -EPERM;
}

int hook_run(const struct hook *hook, char words[HOOK_WORDS_SIZE])
{
	struct running run = {.hook = hook, .output = -1};
	int pipe_fds[2] = {-1, -1};
	AUTO_CLOSE int input = make_input(hook);
	int r = check_owner(hook, words);

	if (r < 0)
		return r;
	r = input < 0 ? input : 0;
	words[0] = '\0';
	if (r == 0 && pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
		r = -errno;
	if (r == 0) {
		/* the reader alone is not to wait */
		(void)fcntl(pipe_fds[1], F_SETFL, 0);
		r = spawn(hook, input, pipe_fds[1], &run.pid);
		close(pipe_fds[1]);
		run.output = pipe_fds[0];
	}
	if (r < 0) {
		(void)snprintf(words, HOOK_WORDS_SIZE, "%s cannot be run: %s", hook->path,
			log_strerror(r));
	} else {
		/* not reaped yet, so the number is still its own */
		run.pidfd = (int)syscall(SYS_pidfd_open, run.pid, 0);
		r = watch(&run, words);
		if (run.pidfd >= 0)
			close(run.pidfd);
	}
	if (run.output >= 0)
		close(run.output);
	return r;
}
