/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/threads/thread.h"

#include <signal.h>

int thread_start(pthread_t *out, const char *name, void *(*run)(void *), void *arg)
{
	sigset_t all;
	sigset_t old;
	pthread_t thread;

	/* a thread inherits the mask that stands while it is made */
	sigfillset(&all);
	int r = pthread_sigmask(SIG_SETMASK, &all, &old);

	if (r)
		return -r;
	r = pthread_create(&thread, NULL, run, arg);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return -r;
	(void)pthread_setname_np(thread, name);
	*out = thread;
	return 0;
}
