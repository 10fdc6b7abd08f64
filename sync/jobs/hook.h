/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An admin's program that is run before or after a sync, so that services can be stopped, backed
 * up or restarted around it.
 *
 *	struct hook hook = {.path = "/etc/depotfs/pre-sync", .timeout_ns = ..., .env = env, ...};
 *	r = hook_run(&hook, words);
 *
 * It runs in a process group of its own, in the root directory, with a small environment: PATH,
 * LANG=C and what `env` says. Its standard input holds `input`; each line that it prints goes to
 * on_line(), up to HOOK_OUTPUT_MAX bytes. What others may write is not run.
 */
#pragma once

#include "cache/base/cleanup.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOOK_WORDS_SIZE 256
#define HOOK_OUTPUT_MAX (1024 * 1024)

struct hook {
	const char *path;	/* absolute, of an executable */
	const char *const *env; /* "NAME=value", up to a NULL */
	const void *input;
	size_t input_len;
	int64_t timeout_ns; /* then it and its children are told to end, 5 s later killed */
	const atomic_bool *is_cancelled;	      /* may be NULL; true: likewise */
	void (*on_line)(void *arg, const char *line); /* may be NULL */
	void *arg;
};

/* Waits for its end; what it leaves in the background, but in its group, ends with it. Returns 0
 * when it exited with 0; otherwise `words` say why not: -ECHILD for another status or a signal,
 * -ETIMEDOUT, -ECANCELED, -EPERM if others may write it, or why it could not be started (-ENOENT, -EACCES, ...). */
int hook_run(const struct hook *hook, char words[HOOK_WORDS_SIZE]) WARN_UNUSED;
