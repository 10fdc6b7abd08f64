/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Scope-bound ownership: what a variable holds is released when it leaves its scope,
 * unless TAKE_PTR/TAKE_FD hands it over.
 *
 *	AUTO_FREE char *path = mem_strdup(s);
 *	AUTO_CLOSE int fd = open(...);
 *	...
 *	*out_path = TAKE_PTR(path);
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WARN_UNUSED	       __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define CLEANUP(fn)	       __attribute__((cleanup(fn)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Releases a FILE opened for reading; a written stream is closed and checked by hand. */
static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

#define AUTO_FREE  CLEANUP(cleanup_free)
#define AUTO_CLOSE CLEANUP(cleanup_close)

/* Hands the pointer over: the variable is NULL afterwards. */
#define TAKE_PTR(p)                                                                      \
	__extension__({                                                                  \
		__typeof__(p) *take_p_ = &(p);                                           \
		__typeof__(p) take_v_ = *take_p_;                                        \
		*take_p_ = NULL;                                                         \
		take_v_;                                                                 \
	})

/* Hands the descriptor over: the variable is -1 afterwards. */
#define TAKE_FD(fd)                                                                      \
	__extension__({                                                                  \
		int *take_p_ = &(fd);                                                    \
		int take_v_ = *take_p_;                                                  \
		*take_p_ = -1;                                                           \
		take_v_;                                                                 \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
